//! Class-agnostic grouping: proposals from the segmenter, masked crops for the image branch.

pub mod crops;
pub mod position;
pub mod proposals;

pub use proposals::Proposals;
