//! What can go wrong between a typed name and its vector.

use super::prompts::{MAX_CLASSES, MAX_NAME_CHARS, MAX_NAMES_PER_CLASS};

/// An error of the text stage. Its `Display` is a sentence for the person who typed the names or made the bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// The list of names holds nothing but separators and white space.
    #[error("no class name was given: type at least one, for example: cat, sofa | couch, wall")]
    NoClasses,

    /// A label map has one byte per pixel and 255 means "other", which leaves 255 values; one is kept free.
    #[error("{count} classes were given, but at most {MAX_CLASSES} are possible at once")]
    TooManyClasses {
        /// Classes in the list after duplicates were merged.
        count: usize,
    },

    /// One class has more alternative names than are sensible.
    #[error("the class \"{name}\" has {count} names, but at most {MAX_NAMES_PER_CLASS} are possible")]
    TooManyNames {
        /// First name of the class.
        name: String,
        /// Number of its names.
        count: usize,
    },

    /// A name that no prompt could hold; usually a missing comma.
    #[error(
        "the class name \"{start}…\" is {chars} characters long, but at most {MAX_NAME_CHARS} are possible: \
         is a comma missing?"
    )]
    NameTooLong {
        /// Beginning of the name.
        start: String,
        /// Its length in characters.
        chars: usize,
    },

    /// A character such as U+0007 that cannot belong to a name; usually a binary file passed as a list.
    #[error("a class name contains the control character U+{code:04X}: only text is possible")]
    ControlCharacter {
        /// The character's code point.
        code: u32,
    },

    /// The bundle's tokenizer is not one that this program can use.
    #[error("the tokenizer cannot be used: {reason}")]
    Tokenizer {
        /// What is wrong, as far as known.
        reason: String,
    },

    /// A text could not be cut into tokens.
    #[error("the text \"{text}\" could not be tokenised: {reason}")]
    Tokenise {
        /// Beginning of the text.
        text: String,
        /// What the tokenizer said.
        reason: String,
    },

    /// A token or position table is not as the bundle declares it, or it does not fit the tokenizer.
    #[error("{file}: {reason}")]
    Table {
        /// File name within the bundle.
        file: String,
        /// What is wrong.
        reason: String,
    },

    /// The ready vocabulary is not as the bundle declares it.
    #[error("{file}: {reason}")]
    Vocabulary {
        /// File name within the bundle.
        file: String,
        /// What is wrong.
        reason: String,
    },

    /// A class was asked for before the vectors of its names were there: a mistake of the calling code.
    #[error("the name \"{name}\" has no vector yet")]
    Missing {
        /// The name without a vector.
        name: String,
    },

    /// The vectors of a class cancel each other out or hold no finite number, so that it has no direction.
    #[error("the class \"{name}\" has no usable vector: the text model gave zeros or no numbers")]
    NoDirection {
        /// First name of the class.
        name: String,
    },
}

/// The first characters of a text that is too long to be quoted whole.
pub(super) fn beginning(text: &str) -> String {
    text.chars().take(40).collect()
}
