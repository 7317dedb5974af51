{#
// Direct convolution, any kernel, stride, dilation, padding, groups. Each invocation computes tm output channels (of one
// group) x tx neighbouring pixels of a row; a strip of the input row stays in registers for all tm channels. Rows and
// columns in the padding are read from the border and replaced by zero, so the loops have no branch.
#}
{% import "weight" as weight %}
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> w: array<{{ weight::element(vec=false, half=half) }}>;
{% if bias %}@group(0) @binding(2) var<storage, read> bias: array<f32>;{% endif %}
{% if residual %}@group(0) @binding({{ residual_binding }}) var<storage, read> residual: array<f32>;{% endif %}
@group(0) @binding({{ output_binding }}) var<storage, read_write> y: array<f32>;

{% if half %}{{ weight::helpers() }}{% endif %}
alias T = f32;
alias U = u32;
{{ helpers }}
fn act(v: T) -> T {
	{{ activation }}
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
	{# channels go by workgroup, so that the addresses of the weights are uniform #}
	let number = group.x + group.y * {{ groups_x }}u;
	let strip = number % {{ strip_groups }}u * 64u + lane;
	let block = number / {{ strip_groups }}u % {{ blocks }}u;
	let batch = number / {{ strip_groups * blocks }}u;
	if (strip >= {{ oh * strips }}u || batch >= {{ batch }}u) { return; }
	let ox = strip % {{ strips }}u * {{ tx }}u;
	let oy = strip / {{ strips }}u;
	let m = block * {{ tm }}u;
	let c0 = batch * {{ cin }}u + m / {{ cout_per_group }}u * {{ cin_per_group }}u;
	let x0 = i32(ox * {{ stride_x }}u) - {{ pad_x }};
	let y0 = i32(oy * {{ stride_y }}u) - {{ pad_y }};
	{% for j in range(end=columns) %}
	let p{{ j }} = u32(clamp(x0 + {{ j }}, 0, {{ iw - 1 }}));
	let q{{ j }} = x0 + {{ j }} >= 0 && x0 + {{ j }} < {{ iw }};
	{% endfor %}
	{% for i in range(end=tm) %}{% for j in range(end=tx) %}
	var s{{ i }}_{{ j }} = 0.0;
	{% endfor %}{% endfor %}
	for (var c = 0u; c < {{ cin_per_group }}u; c += 1u) {
		for (var ky = 0u; ky < {{ kh }}u; ky += 1u) {
			let iy = y0 + i32(ky * {{ dilation_y }}u);
			let inside = iy >= 0 && iy < {{ ih }};
			let xr = ((c0 + c) * {{ ih }}u + u32(clamp(iy, 0, {{ ih - 1 }}))) * {{ iw }}u;
			{% for j in range(end=columns) %}
			let v{{ j }} = select(0.0, x[xr + p{{ j }}], inside && q{{ j }});
			{% endfor %}
			let wr = (m * {{ cin_per_group }}u + c) * {{ kh * kw }}u + ky * {{ kw }}u;
			{% for i in range(end=tm) %}{% set_global io = i * cin_per_group * kh * kw %}{% for kx in range(end=kw) %}
			{
				{% set step = io + kx %}let ww = {{ weight::at(of="w", at="wr + " ~ step ~ "u", vec=false, half=half) }};
				{% for j in range(end=tx) %}
				s{{ i }}_{{ j }} += ww * v{{ j * stride_x + kx * dilation_x }};
				{% endfor %}
			}
			{% endfor %}{% endfor %}
		}
	}
	let o = ((batch * {{ cout }}u + m) * {{ oh }}u + oy) * {{ ow }}u + ox;
	{% for j in range(end=tx) %}
	if (ox + {{ j }}u < {{ ow }}u) {
	{% for i in range(end=tm) %}
	y[o + {{ i * oh * ow + j }}u] = act(s{{ i }}_{{ j }}{% if bias %} + bias[m + {{ i }}u]{% endif %}{% if residual %} + residual[o + {{ i * oh * ow + j }}u]{% endif %});
	{% endfor %}
	}
	{% endfor %}
}
