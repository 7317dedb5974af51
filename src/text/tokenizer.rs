//! Text to token ids, by the bundle's own `tokenizer.json` and Hugging Face's `tokenizers` crate.

use tokenizers::{TruncationParams, TruncationStrategy};

use super::error::{TextError, beginning};

/// Token counts are rounded up to this, because the engines prefer sides in multiples of four.
pub const STEP: usize = 4;
/// Id of the padding. It is never attended to nor pooled; both CLIP and MiniLM pad with 0.
pub const PAD: u32 = 0;

/// A tokenizer that never gives more tokens than the text graph can read.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    context: usize,
}

/// Token ids of several texts, padded to a common length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenBatch {
    /// Ids, row by row: `lengths.len()` rows of `steps`.
    pub ids: Vec<u32>,
    /// Tokens of each text before padding, special tokens included; from 1 to `steps`.
    pub lengths: Vec<usize>,
    /// Tokens per row, padding included: the longest text rounded up to a multiple of [`STEP`], at most the context.
    pub steps: usize,
}

impl TokenBatch {
    /// Ids of one text with its padding.
    pub fn row(&self, text: usize) -> &[u32] {
        &self.ids[text * self.steps..(text + 1) * self.steps]
    }

    /// Grows the batch to `texts` rows of `steps` tokens; added rows hold one padding token each. Never shrinks it.
    pub fn pad(&mut self, texts: usize, steps: usize) {
        let (texts, steps) = (texts.max(self.lengths.len()), steps.max(self.steps));
        let mut ids = vec![PAD; texts * steps];
        for (text, target) in ids.chunks_exact_mut(steps.max(1)).take(self.lengths.len()).enumerate() {
            target[..self.steps].copy_from_slice(self.row(text));
        }
        self.lengths.resize(texts, 1);
        (self.ids, self.steps) = (ids, steps);
    }
}

impl Tokenizer {
    /// Reads a `tokenizer.json`. Its own padding and truncation are put aside for the bundle's `context` (tokens).
    ///
    /// # Errors
    /// [`TextError::Tokenizer`] if the bytes are no tokenizer, or if `context` has no room beside the special tokens.
    pub fn from_bytes(json: &[u8], context: usize) -> Result<Self, TextError> {
        let refuse = |reason: String| TextError::Tokenizer { reason };
        check_character_maps(&serde_json::from_slice(json).map_err(|e| refuse(e.to_string()))?)?;
        let mut inner = tokenizers::Tokenizer::from_bytes(json).map_err(|e| refuse(e.to_string()))?;
        // As the crate understood it: a template can be written in more than one way.
        check_templates(&serde_json::to_value(inner.get_post_processor()).map_err(|e| refuse(e.to_string()))?)?;
        let special = inner.get_post_processor().map_or(0, |p| tokenizers::PostProcessor::added_tokens(p, false));
        if context <= special {
            return Err(refuse(format!("a context of {context} has no room beside {special} special tokens")));
        }
        inner.with_padding(None);
        let truncation = TruncationParams {
            max_length: context,
            strategy: TruncationStrategy::LongestFirst,
            ..TruncationParams::default()
        };
        inner.with_truncation(Some(truncation)).map_err(|e| refuse(e.to_string()))?;
        Ok(Self { inner, context })
    }

    /// Token ids of one text with its special tokens. A text that is too long loses its end, but not the end token.
    ///
    /// # Errors
    /// [`TextError::Tokenise`] if the tokenizer gives up or gives no token.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TextError> {
        let refuse = |reason: String| TextError::Tokenise { text: beginning(text), reason };
        let encoding = self.inner.encode(text, true).map_err(|e| refuse(e.to_string()))?;
        let ids = encoding.get_ids();
        if ids.is_empty() || ids.len() > self.context {
            return Err(refuse(format!("{} tokens instead of 1 to {}", ids.len(), self.context)));
        }
        Ok(ids.to_vec())
    }

    /// Token ids of several texts.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_batch<T: AsRef<str>>(&self, texts: &[T]) -> Result<TokenBatch, TextError> {
        let rows = texts.iter().map(|text| self.encode(text.as_ref())).collect::<Result<Vec<_>, _>>()?;
        let lengths: Vec<usize> = rows.iter().map(Vec::len).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let steps = longest.next_multiple_of(STEP).min(self.context);
        let mut ids = vec![PAD; steps * rows.len()];
        for (target, row) in ids.chunks_mut(steps.max(1)).zip(&rows) {
            target[..row.len()].copy_from_slice(row);
        }
        Ok(TokenBatch { ids, lengths, steps })
    }
}

/// Looks at every precompiled character map in a `tokenizer.json`: the `tokenizers` crate panics at a damaged one.
fn check_character_maps(json: &serde_json::Value) -> Result<(), TextError> {
    match json {
        serde_json::Value::Array(items) => items.iter().try_for_each(check_character_maps),
        serde_json::Value::Object(fields) => {
            if fields.get("type").is_some_and(|kind| kind == "Precompiled") {
                // Through text, since this type borrows from it.
                serde_json::from_str::<spm_precompiled::Precompiled>(&json.to_string()).map_err(|_| {
                    TextError::Tokenizer { reason: "its precompiled character map is damaged".to_owned() }
                })?;
            }
            fields.values().try_for_each(check_character_maps)
        }
        _ => Ok(()),
    }
}

/// Looks at every template around a text in a post-processor: the `tokenizers` crate panics at the first text if one asks
/// for a special token that is not listed, or for a second text where there is only one.
fn check_templates(json: &serde_json::Value) -> Result<(), TextError> {
    let refuse = |reason: String| Err(TextError::Tokenizer { reason });
    match json {
        serde_json::Value::Array(items) => items.iter().try_for_each(check_templates),
        serde_json::Value::Object(fields) if fields.get("type").is_some_and(|kind| kind == "TemplateProcessing") => {
            for name in ["single", "pair"] {
                for piece in json[name].as_array().into_iter().flatten() {
                    let special = piece["SpecialToken"]["id"].as_str();
                    if let Some(id) = special.filter(|&id| json["special_tokens"].get(id).is_none()) {
                        return refuse(format!(
                            "its template asks for \"{}\", which is no special token",
                            beginning(id)
                        ));
                    }
                    if name == "single" && piece["Sequence"]["id"] == "B" {
                        return refuse("its template for one text asks for a second one".to_owned());
                    }
                }
            }
            Ok(())
        }
        serde_json::Value::Object(fields) => fields.values().try_for_each(check_templates),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A word tokenizer with MiniLM's special tokens.
    const WORDS: &str = r###"{"version":"1.0","truncation":null,
        "padding":{"strategy":{"Fixed":128},"direction":"Right","pad_to_multiple_of":null,"pad_id":0,"pad_type_id":0,
                   "pad_token":"[PAD]"},
        "added_tokens":[],"normalizer":{"type":"Lowercase"},"pre_tokenizer":{"type":"Whitespace"},
        "post_processor":{"type":"BertProcessing","sep":["[SEP]",3],"cls":["[CLS]",2]},"decoder":null,
        "model":{"type":"WordLevel","unk_token":"[UNK]",
                 "vocab":{"[PAD]":0,"[UNK]":1,"[CLS]":2,"[SEP]":3,"a":4,"cat":5,"dog":6}}}"###;

    #[test]
    fn a_text_and_its_special_tokens() {
        let tokenizer = Tokenizer::from_bytes(WORDS.as_bytes(), 8).unwrap();
        assert_eq!(tokenizer.encode("A cat").unwrap(), [2, 4, 5, 3]);
        assert_eq!(tokenizer.encode("").unwrap(), [2, 3]);
        assert_eq!(tokenizer.encode("bird").unwrap(), [2, 1, 3]);
    }

    #[test]
    fn truncation_keeps_the_end_token() {
        let tokenizer = Tokenizer::from_bytes(WORDS.as_bytes(), 5).unwrap();
        assert_eq!(tokenizer.encode("a cat a dog a cat").unwrap(), [2, 4, 5, 4, 3]);
    }

    #[test]
    fn batches_are_padded_to_a_multiple_of_four() {
        let tokenizer = Tokenizer::from_bytes(WORDS.as_bytes(), 7).unwrap();
        let batch = tokenizer.encode_batch(&["cat", "dog dog"]).unwrap();
        assert_eq!((batch.steps, batch.lengths.clone()), (4, vec![3, 4]));
        assert_eq!(batch.ids, [2, 5, 3, 0, 2, 6, 6, 3]);
        assert_eq!(batch.row(1), [2, 6, 6, 3]);
        let batch = tokenizer.encode_batch(&["a a a", "cat"]).unwrap();
        assert_eq!(batch.steps, 7, "eight is more than the context");
        let empty = tokenizer.encode_batch::<&str>(&[]).unwrap();
        assert_eq!((empty.steps, empty.ids.len()), (0, 0));
    }

    #[test]
    fn a_batch_grows_to_a_shape() {
        let mut batch = TokenBatch { ids: vec![2, 5, 3, 0, 2, 6, 6, 3], lengths: vec![3, 4], steps: 4 };
        let before = batch.clone();
        batch.pad(1, 2);
        assert_eq!(batch, before, "nothing gets smaller");
        batch.pad(3, 5);
        assert_eq!(batch.ids, [2, 5, 3, 0, 0, 2, 6, 6, 3, 0, 0, 0, 0, 0, 0]);
        assert_eq!((batch.lengths, batch.steps), (vec![3, 4, 1], 5));
    }

    #[test]
    fn unusable_tokenizers_are_refused() {
        for bytes in [&b""[..], b"{}", b"\xff\xfe", &WORDS.as_bytes()[..300]] {
            assert!(matches!(Tokenizer::from_bytes(bytes, 8), Err(TextError::Tokenizer { .. })));
        }
        assert!(matches!(Tokenizer::from_bytes(WORDS.as_bytes(), 2), Err(TextError::Tokenizer { .. })));
    }

    #[test]
    fn templates_that_ask_for_what_is_not_there_are_refused() {
        let bert = r#"{"type":"BertProcessing","sep":["[SEP]",3],"cls":["[CLS]",2]}"#;
        let single = r#"[{"SpecialToken":{"id":"[CLS]","type_id":0}},{"Sequence":{"id":"A","type_id":0}}]"#;
        let pair = r#"[{"Sequence":{"id":"A","type_id":0}},{"Sequence":{"id":"B","type_id":1}}]"#;
        let special = r#"{"[CLS]":{"id":"[CLS]","ids":[2],"tokens":["[CLS]"]}}"#;
        let template = |single: &str, special: &str| {
            format!(r#"{{"type":"TemplateProcessing","single":{single},"pair":{pair},"special_tokens":{special}}}"#)
        };
        let with = |processor: &str| Tokenizer::from_bytes(WORDS.replace(bert, processor).as_bytes(), 8);
        assert_eq!(with(&template(single, special)).unwrap().encode("a cat").unwrap(), [2, 4, 5]);
        let in_a_list = format!(r#"{{"type":"Sequence","processors":[{}]}}"#, template(single, "{}"));
        let as_array = template(r#"[{"SpecialToken":["[CLS]",0]},{"Sequence":["A",0]}]"#, "{}");
        for processor in [template(single, "{}"), template(pair, special), in_a_list, as_array] {
            assert!(matches!(with(&processor), Err(TextError::Tokenizer { .. })), "{processor}");
        }
    }
}
