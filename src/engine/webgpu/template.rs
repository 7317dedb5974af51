//! The WGSL files in shaders/, rendered with Tera: sizes are known when a graph is planned, so loops are unrolled and
//! addresses folded before the driver sees a shader.

use std::sync::OnceLock;

use tera::{Context, Tera};

const FILES: [(&str, &str); 11] = [
    ("row", include_str!("shaders/row.wgsl")),
    ("weight", include_str!("shaders/weight.wgsl")),
    ("gemm", include_str!("shaders/gemm.wgsl")),
    ("conv", include_str!("shaders/conv.wgsl")),
    ("winograd", include_str!("shaders/winograd.wgsl")),
    ("softmax", include_str!("shaders/softmax.wgsl")),
    ("normalise", include_str!("shaders/normalise.wgsl")),
    ("reduce", include_str!("shaders/reduce.wgsl")),
    ("elementwise", include_str!("shaders/elementwise.wgsl")),
    ("gather", include_str!("shaders/gather.wgsl")),
    ("sample", include_str!("shaders/sample.wgsl")),
];

fn templates() -> Result<&'static Tera, String> {
    static TEMPLATES: OnceLock<Result<Tera, String>> = OnceLock::new();
    let made = TEMPLATES.get_or_init(|| {
        let mut tera = Tera::default();
        tera.autoescape_on(Vec::new());
        tera.add_raw_templates(FILES).map_err(|error| format!("{error:?}"))?;
        Ok(tera)
    });
    made.as_ref().map_err(Clone::clone)
}

/// The WGSL of the file `name` with these values.
///
/// The files number their bindings through; wonnx binds four a group.
pub fn render(name: &str, context: &Context) -> Result<String, String> {
    let mut shader = templates()?.render(name, context).map_err(|error| format!("shader {name}: {error:?}"))?;
    for binding in 4..super::lower::MOST_BUFFERS {
        let grouped = format!("@group({}) @binding({})", binding / 4, binding % 4);
        shader = shader.replace(&format!("@group(0) @binding({binding})"), &grouped);
    }
    Ok(shader)
}

/// A finite float as WGSL writes it, which has no other constants. Written out as f64: what is rounded up beyond the largest
/// f32 some compilers refuse.
pub fn literal(value: f32) -> String {
    format!("({:?}f)", f64::from(value))
}

/// Any float in a shader whose `i` is known at run time only: WGSL refuses infinities that a compiler can find.
pub fn any_float(value: f32) -> String {
    if value.is_finite() { literal(value) } else { format!("bitcast<f32>({:#x}u | (i & 0u))", value.to_bits()) }
}

/// Workgroups of `size` threads for `threads` threads in all, as x and y, since one axis ends at 65,535. The shader's
/// running number is `x + y * groups_x` (in workgroups).
pub fn spread(threads: usize, size: usize) -> (u32, u32, u32) {
    let groups = threads.div_ceil(size).max(1);
    let x = groups.min(65_535);
    (x as u32, groups.div_ceil(x) as u32, 1)
}
