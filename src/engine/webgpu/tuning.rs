//! What kernels are tuned to: the kind of adapter, what it can do, and which block of a product it computes fastest.

/// A block of a matrix product as kernels compute it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Rows per thread.
    pub rows: usize,
    /// Columns per thread, in vec4s.
    pub columns: usize,
    /// Threads along each side of a workgroup that shares what it reads in workgroup memory. Without, every thread reads
    /// for itself.
    pub shared: Option<usize>,
}

impl Block {
    const fn own(rows: usize, columns: usize) -> Block {
        Block { rows, columns, shared: None }
    }

    const fn shared(rows: usize, columns: usize, side: usize) -> Block {
        Block { rows, columns, shared: Some(side) }
    }

    /// For what is too small to fill a GPU with anything else.
    pub const SMALL: Block = Block::own(4, 1);
    /// Much work per load and no barrier, for CPUs in disguise: larger ones leave the registers.
    pub const SOFTWARE: Block = Block::own(8, 2);
    /// What an adapter may compute fastest. The largest shares 16 KiB, which every WebGPU device has.
    pub const CANDIDATES: [Block; 6] = [
        Block::own(4, 2),
        Block::own(8, 2),
        Block::shared(4, 1, 16),
        Block::shared(8, 1, 8),
        Block::shared(8, 2, 8),
        Block::shared(8, 2, 16),
    ];
}

/// What kernels are tuned to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// The adapter is a CPU in disguise: few wide threads, no barriers.
    pub software: bool,
    /// The threads of a subgroup can add up without memory and barriers.
    pub subgroups: bool,
    /// Shaders can read f16: weights that it holds exactly stay in it.
    pub half: bool,
    /// Convolutions of 3 x 3 are computed by Winograd's transforms.
    pub winograd: bool,
    /// For products with at least [`LARGE`] results.
    pub block: Block,
    /// For convolutions with so many results that are computed as products. A shared one: what it gathers is read again.
    pub gathered: Block,
}

/// Results of a product from which on it fills a GPU with blocks of any size.
pub const LARGE: usize = 1 << 17;

impl Tuning {
    /// For adapters that compute on the CPU.
    pub const SOFTWARE: Tuning = Tuning {
        software: true,
        subgroups: false,
        half: false,
        winograd: true,
        block: Block::SOFTWARE,
        gathered: Block::shared(8, 1, 8),
    };

    /// For graphics cards, before anything is known of one.
    pub const GRAPHICS: Tuning =
        Tuning { software: false, winograd: false, block: Block::own(4, 2), ..Tuning::SOFTWARE };

    /// Whether a convolution with so many results is computed as a product.
    pub fn gathers(self, results: usize) -> bool {
        !self.software && results >= LARGE
    }

    /// The block for a product with so many results.
    pub fn block_for(self, results: usize) -> Block {
        if self.software || results >= LARGE { self.block } else { Block::SMALL }
    }
}
