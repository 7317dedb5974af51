//! Class-agnostic grouping: proposals from the segmenter, masked crops for the image branch.

pub mod crops;
pub mod onepass;
pub mod position;
pub mod proposals;
pub mod worth;

pub use proposals::Proposals;
