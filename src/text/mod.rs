//! From the class names that a person types to one unit vector per class and branch.
//!
//! ```text
//! "cat, sofa | couch" ──prompts──▶ Class ──vocabulary, head──▶ ready vector
//!                                    │ (name not in the vocabulary)
//!                                    ▼
//!                       prompts::fill ──tokenizer──▶ TokenBatch ──table──▶ TextInputs ──▶ text graph
//! ```
//!
//! Only [`encoder`] reads the bundle and runs the graph; the other modules take bytes and numbers as arguments, so that
//! they can be tested without a model.

pub mod encoder;
mod error;
pub mod head;
pub mod hierarchy;
pub mod prompts;
pub mod table;
pub mod tokenizer;
pub mod vocabulary;

pub use error::TextError;
pub use hierarchy::Hierarchy;
pub use prompts::{Class, parse_classes};
pub use table::{Table, TextInputs, TextTables};
pub use tokenizer::{TokenBatch, Tokenizer};
pub use vocabulary::{Branch, Vocabulary, WordVectors};
