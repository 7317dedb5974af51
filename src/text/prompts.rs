//! The list of class names as a person types it, and the sentences that the text encoder reads.

use std::collections::HashMap;

use unicode_normalization::UnicodeNormalization;

use super::error::{TextError, beginning};

/// Most classes at once: labels are bytes, 255 is "other", and 254 is kept free.
pub const MAX_CLASSES: usize = 254;
/// Longest class name, in characters. CLIP reads 77 tokens, MiniLM's bundle fewer; more is never read.
pub const MAX_NAME_CHARS: usize = 200;
/// Most names (name and synonyms) of one class; each costs one run of the text encoder per template.
pub const MAX_NAMES_PER_CLASS: usize = 64;

/// One class: what it is called in the results, and what else it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// The first name that was typed, as it was typed (white space collapsed, Unicode NFC).
    pub name: String,
    /// Further names of the same class, without `name`, in the order typed.
    pub synonyms: Vec<String>,
}

impl Class {
    /// All names of the class: `name` first, then the synonyms.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name.as_str()).chain(self.synonyms.iter().map(String::as_str))
    }

    /// A class with one name, taken as it is.
    pub fn plain(name: &str) -> Class {
        Class { name: name.to_owned(), synonyms: Vec::new() }
    }
}

/// Reads a list of classes.
///
/// Comma, semicolon or line end separates classes; `|` separates the names of one class. White space around names is
/// dropped and collapsed within, Unicode is composed (NFC), and empty names are passed over. A class that shares a name
/// with an earlier one (compared without regard to case) is merged into it: the earlier one keeps its place and its
/// first name, and gains the names that no class had yet. So every name belongs to exactly one class.
///
/// # Errors
/// [`TextError::NoClasses`], [`TextError::TooManyClasses`] (more than 254), [`TextError::TooManyNames`],
/// [`TextError::NameTooLong`] (more than 200 characters), [`TextError::ControlCharacter`].
pub fn parse_classes(text: &str) -> Result<Vec<Class>, TextError> {
    let mut classes: Vec<Class> = Vec::new();
    let mut owner: HashMap<String, usize> = HashMap::new();
    for part in text.split([',', ';', '\n', '\r']) {
        let mut names = Vec::new();
        for name in part.split('|') {
            let name = tidy(name)?;
            if !name.is_empty() {
                names.push(name);
            }
        }
        let earlier = names.iter().find_map(|name| owner.get(&key(name)).copied());
        let index = earlier.unwrap_or(classes.len());
        for name in names {
            if owner.contains_key(&key(&name)) {
                continue;
            }
            owner.insert(key(&name), index);
            match classes.get_mut(index) {
                Some(class) => class.synonyms.push(name),
                None => classes.push(Class::plain(&name)),
            }
        }
    }
    if classes.is_empty() {
        return Err(TextError::NoClasses);
    }
    if classes.len() > MAX_CLASSES {
        return Err(TextError::TooManyClasses { count: classes.len() });
    }
    if let Some(class) = classes.iter().find(|class| class.names().count() > MAX_NAMES_PER_CLASS) {
        return Err(TextError::TooManyNames { name: class.name.clone(), count: class.names().count() });
    }
    Ok(classes)
}

/// The key under which a name is compared, looked up and cached: Unicode NFC, white space collapsed, lower case.
///
/// Both text encoders lower-case what they read, so names that differ in case alone have the same vector.
pub fn key(name: &str) -> String {
    collapse(name).to_lowercase()
}

/// One prompt: a template with a name in place of every `{}`.
pub fn fill(template: &str, name: &str) -> String {
    template.replace("{}", name)
}

fn tidy(name: &str) -> Result<String, TextError> {
    let name = collapse(name);
    if let Some(control) = name.chars().find(|c| c.is_control()) {
        return Err(TextError::ControlCharacter { code: control.into() });
    }
    let chars = name.chars().count();
    if chars > MAX_NAME_CHARS {
        return Err(TextError::NameTooLong { start: beginning(&name), chars });
    }
    Ok(name)
}

/// NFC with every run of white space as one space and none at the ends. The zero-width space and the byte order mark
/// count as white space: they come along invisibly with pasted text and would make two equal names differ.
fn collapse(name: &str) -> String {
    let composed: String = name.nfc().collect();
    let words = composed.split(|c: char| c.is_whitespace() || matches!(c, '\u{200b}' | '\u{feff}'));
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<(String, Vec<String>)> {
        parse_classes(text).unwrap().into_iter().map(|class| (class.name, class.synonyms)).collect()
    }

    fn class(name: &str, synonyms: &[&str]) -> (String, Vec<String>) {
        (name.to_owned(), synonyms.iter().map(|&s| s.to_owned()).collect())
    }

    #[test]
    fn separators_and_synonyms() {
        let want = vec![class("cat", &[]), class("sofa", &["couch"]), class("wall", &[]), class("sky", &[])];
        assert_eq!(parsed("cat, sofa | couch; wall\nsky"), want);
        assert_eq!(parsed(" cat ,,;\r\n sofa|couch|\n\n| ,wall,sky\n"), want);
    }

    #[test]
    fn white_space_and_unicode_are_tidied() {
        assert_eq!(parsed("\u{feff}traffic \t  light"), vec![class("traffic light", &[])]);
        assert_eq!(parsed("cafe\u{301}, caf\u{e9}"), vec![class("café", &[])]);
        assert_eq!(parsed("👩‍🚀"), vec![class("👩‍🚀", &[])]);
    }

    #[test]
    fn duplicates_merge_into_the_first() {
        assert_eq!(parsed("Cat, cat, CAT"), vec![class("Cat", &[])]);
        assert_eq!(
            parsed("sofa | couch, couch | settee, dog"),
            vec![class("sofa", &["couch", "settee"]), class("dog", &[])]
        );
        assert_eq!(parsed("a | A | b"), vec![class("a", &["b"])]);
        assert_eq!(parsed("a, b, b | a | c"), vec![class("a", &[]), class("b", &["c"])]);
    }

    #[test]
    fn limits() {
        assert_eq!(parse_classes(""), Err(TextError::NoClasses));
        assert_eq!(parse_classes(" , ;| \n\u{200b}"), Err(TextError::NoClasses));
        let many = |n: usize| (0..n).map(|i| format!("c{i}")).collect::<Vec<_>>();
        assert_eq!(parse_classes(&many(254).join(",")).unwrap().len(), 254);
        assert_eq!(parse_classes(&many(255).join(",")), Err(TextError::TooManyClasses { count: 255 }));
        assert!(matches!(parse_classes(&many(65).join("|")), Err(TextError::TooManyNames { count: 65, .. })));
        assert!(parse_classes(&"ü".repeat(200)).is_ok());
        assert!(matches!(parse_classes(&"ü".repeat(201)), Err(TextError::NameTooLong { chars: 201, .. })));
        assert_eq!(parse_classes("cat\u{7}"), Err(TextError::ControlCharacter { code: 7 }));
    }

    #[test]
    fn errors_are_sentences() {
        let message = parse_classes(" ").unwrap_err().to_string();
        assert!(message.contains("at least one"), "{message}");
        let message = parse_classes("a\0").unwrap_err().to_string();
        assert!(message.contains("U+0000"), "{message}");
    }

    #[test]
    fn a_class_knows_its_names() {
        let class = &parse_classes("Sofa | couch").unwrap()[0];
        assert_eq!(class.names().collect::<Vec<_>>(), ["Sofa", "couch"]);
        assert_eq!(Class::plain("wall").names().collect::<Vec<_>>(), ["wall"]);
    }

    #[test]
    fn a_prompt_has_the_name_wherever_the_template_has_room_for_it() {
        assert_eq!(fill("a photo of a {}.", "sofa"), "a photo of a sofa.");
        assert_eq!(fill("{} by {}", "couch"), "couch by couch");
    }
}
