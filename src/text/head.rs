//! What a typed phrase is about: "a brown dog" is a dog, "two cups of tea" are cups.
//!
//! A text encoder that was never shown a picture hears an adjective as a part of the name and puts "a brown dog" or "dogs"
//! away from "dog". English names their head: the last words before the first preposition.

use super::prompts::key;

/// Words before a name that say nothing about what it is.
const DETERMINERS: [&str; 26] = [
    "a", "an", "the", "this", "that", "these", "those", "my", "your", "his", "her", "its", "our", "their", "some",
    "any", "every", "each", "all", "many", "several", "one", "two", "three", "four", "five",
];
/// What follows these says where the thing is, or what it has or does.
const PREPOSITIONS: [&str; 30] = [
    "of", "in", "on", "at", "with", "without", "from", "by", "for", "to", "under", "over", "above", "below", "behind",
    "near", "beside", "next", "inside", "outside", "against", "between", "wearing", "holding", "sitting", "standing",
    "lying", "who", "which", "that",
];
/// Before "of" these are not what is meant: "a group of people" is people.
const QUANTITIES: [&str; 23] = [
    "photo", "picture", "image", "drawing", "view", "piece", "part", "slice", "bit", "group", "pair", "bunch", "pile",
    "stack", "row", "lot", "number", "herd", "flock", "kind", "type", "sort", "couple",
];
const IRREGULAR: [(&str, &str); 8] = [
    ("people", "person"),
    ("children", "child"),
    ("men", "man"),
    ("mice", "mouse"),
    ("geese", "goose"),
    ("feet", "foot"),
    ("teeth", "tooth"),
    ("oxen", "ox"),
];

/// What to look a name up by, best first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// In lower case.
    pub name: String,
    /// Whether it means all of what was typed: "dog" for "the dogs", not for "a brown dog".
    pub whole: bool,
}

/// Other forms of a name and its possible heads: without determiners, without what a preposition begins, in the singular,
/// and then without more and more of its first words.
pub fn forms(name: &str) -> Vec<Form> {
    let name = key(name);
    let mut words: Vec<&str> = name.split(' ').collect();
    let mut whole = true;
    loop {
        let named = words.iter().position(|word| !DETERMINERS.contains(word)).unwrap_or(0);
        words.drain(..named);
        let Some(end) = words.iter().skip(1).position(|word| PREPOSITIONS.contains(word)) else { break };
        let preposition = end + 1;
        if words[preposition] == "of" && preposition + 1 < words.len() && is_quantity(words[end]) {
            words.drain(..=preposition);
        } else {
            words.truncate(preposition);
            whole = false;
        }
    }
    let mut found = Vec::new();
    for start in 0..words.len() {
        let rest = words[start..].join(" ");
        let whole = whole && start == 0;
        let others = singulars(&rest);
        // As typed first: "glasses" are not more than one "glass".
        found.extend(std::iter::once(rest).chain(others).map(|name| Form { name, whole }));
    }
    found
}

fn is_quantity(word: &str) -> bool {
    QUANTITIES.contains(&word) || singulars(word).iter().any(|one| QUANTITIES.contains(&one.as_str()))
}

/// What a plural may be the plural of; most are not words, and no vocabulary has them.
fn singulars(name: &str) -> Vec<String> {
    let start = name.rfind(' ').map_or(0, |space| space + 1);
    let (before, last) = name.split_at(start);
    let mut found: Vec<String> =
        IRREGULAR.iter().filter(|(many, _)| *many == last).map(|(_, one)| format!("{before}{one}")).collect();
    if !last.ends_with("ss") {
        for (many, one) in [("ies", "y"), ("ves", "f"), ("ves", "fe"), ("s", ""), ("es", ""), ("men", "man")] {
            let stem = last.strip_suffix(many).filter(|stem| stem.chars().count() > 1);
            found.extend(stem.map(|stem| format!("{before}{stem}{one}")));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first form that is one of `known`, a star before it where it is not all of the name.
    fn head(name: &str, known: &[&str]) -> Option<String> {
        let form = forms(name).into_iter().find(|form| known.contains(&form.name.as_str()))?;
        Some(format!("{}{}", if form.whole { "" } else { "*" }, form.name))
    }

    #[test]
    fn plurals_and_determiners_mean_the_same() {
        let known =
            ["dog", "pony", "bus", "knife", "leaf", "woman", "child", "person", "glass", "glasses", "traffic light"];
        for (typed, wanted) in [
            ("the dogs", "dog"),
            ("My Ponies", "pony"),
            ("two buses", "bus"),
            ("knives", "knife"),
            ("leaves", "leaf"),
            ("women", "woman"),
            ("children", "child"),
            ("people", "person"),
            ("glasses", "glasses"),
            ("traffic lights", "traffic light"),
            ("a herd of dogs", "dog"),
            ("Photos of a dog", "dog"),
        ] {
            assert_eq!(head(typed, &known).as_deref(), Some(wanted), "{typed}");
        }
    }

    #[test]
    fn a_phrase_is_about_its_head() {
        let known = ["dog", "cup", "tea", "person", "coat", "house", "hot dog", "stand"];
        for (typed, wanted) in [
            ("a brown dog", "*dog"),
            ("two cups of tea", "*cup"),
            ("a person in a red coat", "*person"),
            ("dog house", "*house"),
            ("big hot dog", "*hot dog"),
            ("a sitting dog", "*dog"),
            ("man with a dog on a lead", ""),
            ("blorf", ""),
            ("of", ""),
            ("the", ""),
            ("a of a", ""),
        ] {
            assert_eq!(head(typed, &known).unwrap_or_default(), wanted, "{typed}");
        }
    }

    #[test]
    fn every_name_has_itself_as_a_form() {
        for name in ["", "a", "s", "of of of", "ß", "groups of", "a group of of", "ΑΣ"] {
            assert!(!forms(name).is_empty(), "{name:?}");
        }
    }
}
