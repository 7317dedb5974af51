//! What kernels are tuned to: the kind of adapter, what it can do, and which block of a product it computes fastest.

/// A block of a matrix product as kernels compute it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Rows per thread.
    pub rows: usize,
    /// Columns per thread, in vec4s.
    pub columns: usize,
    /// How a workgroup shares what it reads in workgroup memory. Without, every thread reads for itself.
    pub shared: Option<Shared>,
}

/// How a workgroup shares what it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shared {
    /// Threads across and down.
    pub size: (usize, usize),
    /// Columns of a, and rows of b, that it holds at a time.
    pub depth: usize,
    /// Parts of the depth, each with threads of its own, whose sums are added at the end: for products too small to fill
    /// a GPU otherwise.
    pub slices: usize,
}

impl Shared {
    /// Vec4s from a row of a to the next. Where four rows or more are read at once, one more than there are: they would lie in
    /// the same banks.
    pub fn a_wide(self) -> usize {
        self.depth / 4 + usize::from(self.size.0 < 16)
    }
}

impl Block {
    const fn own(rows: usize, columns: usize) -> Block {
        Block { rows, columns, shared: None }
    }

    /// A shared one: rows and vec4s of columns per thread, threads across and down; depth and slices.
    pub const fn shared(rows: usize, columns: usize, size: (usize, usize), depth: usize, slices: usize) -> Block {
        Block { rows, columns, shared: Some(Shared { size, depth, slices }) }
    }

    /// Bytes of workgroup memory that it takes.
    pub fn bytes(self) -> usize {
        self.shared.map_or(0, |shared| {
            let Shared { size, depth, slices } = shared;
            let columns = size.0 * self.columns;
            16 * (shared.a_wide() * size.1 * self.rows + depth * columns + (slices - 1) * size.1 * columns)
        })
    }

    /// Workgroups of a product of so many rows and columns, stacked.
    fn workgroups(self, m: usize, n: usize, stacks: usize) -> usize {
        let (across, down) = self.shared.map_or((1, 1), |shared| shared.size);
        m.div_ceil(self.rows * down) * n.div_ceil(4 * self.columns * across) * stacks
    }

    /// For what is too small to fill a GPU with anything else.
    pub const SMALL: Block = Block::own(4, 1);
    /// Much work per load and no barrier, for CPUs in disguise: larger ones leave the registers.
    pub const SOFTWARE: Block = Block::own(8, 2);
    /// What an adapter may compute products of few results fastest by. These and the next share at most 16 KiB and 256
    /// threads, which every WebGPU device has.
    pub const FEW: [Block; 4] = [
        Block::shared(4, 1, (8, 8), 16, 1),
        Block::shared(4, 1, (8, 8), 32, 4),
        Block::shared(8, 1, (8, 8), 16, 1),
        Block::own(4, 2),
    ];
    /// And products of many. On cards whose workgroup memory is ordinary memory, as phones' often is, no sharing is best.
    pub const MANY: [Block; 4] = [
        Block::shared(8, 2, (8, 8), 16, 1),
        Block::shared(4, 1, (16, 16), 16, 1),
        Block::shared(8, 1, (8, 8), 16, 1),
        Block::own(8, 2),
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
    /// For products with at least [`LARGE`] results that [`Tuning::many`] would leave much of a GPU idle with.
    pub few: Block,
    /// For larger ones.
    pub many: Block,
}

/// Results of a product from which on threads share what they read.
pub const LARGE: usize = 1 << 17;
/// Workgroups that keep a GPU busy: two for each of the 132 units of the largest, since one waits while another computes.
/// WebGPU does not tell how many units there are; on a card with fewer, smaller blocks cost less than idle units here.
const BUSY: usize = 256;

impl Tuning {
    /// For adapters that compute on the CPU.
    pub const SOFTWARE: Tuning = Tuning {
        software: true,
        subgroups: false,
        half: false,
        winograd: true,
        few: Block::SOFTWARE,
        many: Block::SOFTWARE,
    };

    /// For graphics cards, before anything is known of one.
    pub const GRAPHICS: Tuning =
        Tuning { software: false, winograd: false, few: Block::FEW[0], many: Block::MANY[0], ..Tuning::SOFTWARE };

    /// Whether a convolution with so many results is computed as a product.
    pub fn gathers(self, results: usize) -> bool {
        !self.software && results >= LARGE
    }

    /// The block for stacked products of so many rows and columns.
    pub fn block_for(self, m: usize, n: usize, stacks: usize) -> Block {
        if !self.software && m * n * stacks < LARGE {
            Block::SMALL
        } else if self.many.workgroups(m, n, stacks) < BUSY {
            self.few
        } else {
            self.many
        }
    }
}
