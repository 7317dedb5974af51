//! Which names are kinds of which: an "animal" is looked for as a cat, a dog, a horse.

use std::collections::{BTreeMap, HashMap, HashSet};

/// Names and their kinds, which may have kinds themselves.
#[derive(Debug, Clone, Default)]
pub struct Hierarchy(HashMap<String, Vec<String>>);

impl Hierarchy {
    /// `kinds`: a name and what lies directly below it. `meaning`: what stands for a name and for all others that mean the
    /// same, which are taken for one. Circles do no harm.
    pub fn new(kinds: &BTreeMap<String, Vec<String>>, meaning: impl Fn(&str) -> String) -> Self {
        let mut all: HashMap<String, Vec<String>> = HashMap::new();
        for (name, kinds) in kinds {
            all.entry(meaning(name)).or_default().extend(kinds.iter().map(|kind| meaning(kind)));
        }
        Self(all)
    }

    /// All meanings below the meaning `name`, nearest first, each once and without `name` itself.
    pub fn below(&self, name: &str) -> Vec<&str> {
        let Some((start, _)) = self.0.get_key_value(name) else { return Vec::new() };
        let mut found: Vec<&str> = Vec::new();
        let mut met = HashSet::from([start.as_str()]);
        let mut level = vec![start.as_str()];
        while !level.is_empty() {
            let kinds = level.iter().filter_map(|name| self.0.get(*name)).flatten().map(String::as_str);
            level = kinds.filter(|kind| met.insert(kind)).collect();
            found.extend(&level);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::prompts::key;
    use super::*;

    fn hierarchy(kinds: &[(&str, &[&str])]) -> Hierarchy {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let kinds = kinds.iter().map(|&(name, kinds)| (name.to_owned(), owned(kinds))).collect();
        Hierarchy::new(&kinds, |name| key(name).replace("tier", "animal"))
    }

    #[test]
    fn kinds_of_kinds_are_kinds() {
        let kinds = hierarchy(&[("Animal", &["pet", "bird"]), ("pet", &["cat", "bird"]), ("bird", &["owl"])]);
        assert_eq!(kinds.below("animal"), ["pet", "bird", "cat", "owl"]);
        assert_eq!(kinds.below("bird"), ["owl"]);
        assert!(kinds.below("owl").is_empty() && kinds.below("").is_empty());
    }

    #[test]
    fn names_of_one_meaning_have_all_of_their_kinds() {
        let kinds = hierarchy(&[("animal", &["cat", "Tier"]), ("living thing", &["tier"]), ("Tier", &["cat", "dog"])]);
        assert_eq!(kinds.below("animal"), ["cat", "dog"]);
        assert_eq!(kinds.below("living thing"), ["animal", "cat", "dog"]);
    }

    #[test]
    fn circles_end() {
        let kinds = hierarchy(&[("a", &["b", "a"]), ("b", &["a", "c"])]);
        assert_eq!(kinds.below("a"), ["b", "c"]);
    }
}
