//! The tokenizer gives the ids that the encoders were trained with: CLIP's and MiniLM's own, text by text.

use zegformer::text::Tokenizer;

const CLIP: &str = include_str!("golden/clip_tokenizer.json");
const CLIP_TOKENS: &str = include_str!("golden/clip_tokens.jsonl");
const MINILM: &str = include_str!("golden/minilm_tokenizer.json");
const MINILM_TOKENS: &str = include_str!("golden/minilm_tokens.jsonl");

fn golden(lines: &str) -> Vec<(String, Vec<u32>)> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn tokenizer(json: &str, context: usize) -> Tokenizer {
    Tokenizer::from_bytes(json.as_bytes(), context).unwrap()
}

/// The golden ids are of OpenAI's own code, cut off at CLIP's 77 tokens.
#[test]
fn clip_ids() {
    let clip = tokenizer(CLIP, 77);
    let texts = golden(CLIP_TOKENS);
    assert!(texts.len() > 10_000);
    for (text, ids) in texts {
        assert_eq!(clip.encode(&text).unwrap(), ids, "{text:?}");
    }
}

/// Whole, and cut off at several lengths, where the end token has to stay.
#[test]
fn minilm_ids() {
    let texts = golden(MINILM_TOKENS);
    assert!(texts.len() >= 900);
    for context in [3, 32, 1 << 20] {
        let minilm = tokenizer(MINILM, context);
        for (text, ids) in &texts {
            let mut wanted = ids.clone();
            if ids.len() > context {
                wanted.truncate(context - 1);
                wanted.push(ids[ids.len() - 1]);
            }
            assert_eq!(minilm.encode(text).unwrap(), wanted, "{text:?} in {context} tokens");
        }
    }
}

#[test]
fn batches_hold_the_same_ids() {
    let minilm = tokenizer(MINILM, 32);
    for texts in golden(MINILM_TOKENS).chunks(7) {
        let texts: Vec<&str> = texts.iter().map(|(text, _)| text.as_str()).collect();
        let batch = minilm.encode_batch(&texts).unwrap();
        let longest = batch.lengths.iter().copied().max().unwrap();
        assert!(batch.steps >= longest && batch.steps < longest + 4 && batch.steps <= 32);
        assert!(batch.steps.is_multiple_of(4));
        for (row, text) in texts.iter().enumerate() {
            let (real, padding) = batch.row(row).split_at(batch.lengths[row]);
            assert_eq!(real, minilm.encode(text).unwrap());
            assert!(padding.iter().all(|&id| id == 0));
        }
    }
}
