{#
// Matrix product c = act(alpha * a x b + beta * bias + residual). Each invocation computes tm rows x tn4 vec4 columns in
// registers. a_vec / b_vec: rows of a / b (and c) can be read as vec4; otherwise by single floats. a_half / b_half: they
// are in f16. With `shared` a workgroup first brings what all its threads read to workgroup memory, k_tile
// columns of a and rows of b at a time; its threads' columns then lie size_x apart, so that neighbours read neighbours.
// `gather`: b is an image of a convolution, each of whose columns is all that one pixel of the result sees of it.
#}
{% import "weight" as weight %}
@group(0) @binding({{ a_binding }}) var<storage, read> a: array<{{ weight::element(vec=a_vec, half=a_half) }}>;
@group(0) @binding({{ 1 - a_binding }}) var<storage, read> b: array<{{ weight::element(vec=b_vec, half=b_half) }}>;
{% if bias != "none" %}@group(0) @binding(2) var<storage, read> bias: array<f32>;{% endif %}
{% if residual %}@group(0) @binding({{ residual_binding }}) var<storage, read> residual: array<f32>;{% endif %}
@group(0) @binding({{ output_binding }}) var<storage, read_write> c: array<{% if c_vec %}vec4<f32>{% else %}f32{% endif %}>;
{% if shared %}
var<workgroup> a_tile: array<vec4<f32>, {{ size_y * tm * k_tile / 4 | int }}>;
var<workgroup> b_tile: array<vec4<f32>, {{ k_tile * size_x * tn4 }}>;
{% endif %}

{% if a_half or b_half %}{{ weight::helpers() }}{% endif %}
{% if gather %}
// Pixel `at` of the result, as column of a matrix whose rows go by channel, then by place in the kernel.
fn seen(image: u32, row: u32, at: u32) -> f32 {
	let y = i32(at / {{ ow }}u * {{ stride_y }}u + row / {{ kw }}u % {{ kh }}u * {{ dilation_y }}u) - {{ pad_y }};
	let x = i32(at % {{ ow }}u * {{ stride_x }}u + row % {{ kw }}u * {{ dilation_x }}u) - {{ pad_x }};
	let line = image + (row / {{ kh * kw }}u * {{ ih }}u + u32(clamp(y, 0, {{ ih - 1 }}))) * {{ iw }}u;
	let inside = y >= 0 && y < {{ ih }} && x >= 0 && x < {{ iw }};
	return select(0.0, b[line + u32(clamp(x, 0, {{ iw - 1 }}))], inside);
}
{% endif %}
alias T = vec4<f32>;
{{ helpers }}
fn act(v: T) -> T {
	{{ activation }}
}

@compute @workgroup_size({{ size_x }}, {{ size_y }})
fn main(
	@builtin(workgroup_id) group: vec3<u32>,
	@builtin(local_invocation_id) local: vec3<u32>,
	@builtin(local_invocation_index) lane: u32,
) {
	{# tiles are numbered in one row: no axis of the dispatch ends at 65,535 #}
	let number = group.x + group.y * {{ groups_x }}u;
	let stack = number / {{ groups_n * groups_m }}u;
	let left = number % {{ groups_n }}u * {{ size_x * tn4 }}u; // in vec4s
	let top = number / {{ groups_n }}u % {{ groups_m }}u * {{ size_y * tm }}u;
	let col = left + local.x{% if not shared %} * {{ tn4 }}u{% endif %};
	let row = top + local.y * {{ tm }}u;
	let a_offset = {{ a_offset }};
	let b_offset = {{ b_offset }};
	{% for i in range(end=tm) %}{% for j in range(end=tn4) %}
	var s{{ i }}_{{ j }} = vec4<f32>();
	{% endfor %}{% endfor %}
	{% if shared %}
	if (stack >= {{ stacks }}u) { return; }
	for (var k = 0u; k < {{ k }}u; k += {{ k_tile }}u) {
		{# what lies beyond the edges is read from the edge; beyond k it has to be zero #}
		for (var t = lane; t < {{ size_y * tm * k_tile / 4 | int }}u; t += {{ size_x * size_y }}u) {
			let at = k + t % {{ k_tile / 4 | int }}u * 4u;
			let a_from = (a_offset + min(top + t / {{ k_tile / 4 | int }}u, {{ m - 1 }}u) * {{ a_row }}u + min(at, {{ k - 4 }}u)) / 4u;
			a_tile[t] = select(vec4<f32>(), {{ weight::at(of="a", at="a_from", vec=true, half=a_half) }}, at < {{ k }}u);
		}
		for (var t = lane; t < {{ k_tile * size_x * tn4 }}u; t += {{ size_x * size_y }}u) {
			let at = k + t / {{ size_x * tn4 }}u;
			let across = min(left + t % {{ size_x * tn4 }}u, {{ n4 - 1 }}u);
			let down = min(at, {{ k - 1 }}u);
			{% if gather %}
			let p = across * 4u;
			let found = vec4<f32>(seen(b_offset, down, p), seen(b_offset, down, p + 1u), seen(b_offset, down, p + 2u), seen(b_offset, down, p + 3u));
			{% else %}
			let b_from = (b_offset + down * {{ n }}u) / 4u + across;
			let found = {{ weight::at(of="b", at="b_from", vec=true, half=b_half) }};
			{% endif %}
			b_tile[t] = select(vec4<f32>(), found, at < {{ k }}u);
		}
		workgroupBarrier();
		for (var q = 0u; q < {{ k_tile / 4 | int }}u; q += 1u) {
			{% for i in range(end=tm) %}
			let a{{ i }} = a_tile[(local.y * {{ tm }}u + {{ i }}u) * {{ k_tile / 4 | int }}u + q];
			{% endfor %}
			{% for kk in range(end=4) %}
			{% for j in range(end=tn4) %}
			let b{{ kk }}_{{ j }} = b_tile[(q * 4u + {{ kk }}u) * {{ size_x * tn4 }}u + local.x + {{ j * size_x }}u];
			{% endfor %}
			{% for i in range(end=tm) %}{% for j in range(end=tn4) %}
			s{{ i }}_{{ j }} += a{{ i }}[{{ kk }}] * b{{ kk }}_{{ j }};
			{% endfor %}{% endfor %}
			{% endfor %}
		}
		workgroupBarrier();
	}
	if (col >= {{ n4 }}u || row >= {{ m }}u) { return; }
	{% else %}
	if (col >= {{ n4 }}u || row >= {{ m }}u || stack >= {{ stacks }}u) { return; }
	{% for i in range(end=tm) %}
	let r{{ i }} = {% if m_full %}row + {{ i }}u{% else %}min(row + {{ i }}u, {{ m - 1 }}u){% endif %};
	{% endfor %}
	{% for j in range(end=tn4) %}
	{% if b_vec %}
	let c{{ j }} = {% if n_full %}col + {{ j }}u{% else %}min(col + {{ j }}u, {{ n4 - 1 }}u){% endif %};
	{% else %}
	let c{{ j }} = min(vec4<u32>((col + {{ j }}u) * 4u) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>({{ n - 1 }}u));
	{% endif %}
	{% endfor %}
	for (var k = 0u; k < {{ k }}u; k += {{ k_step }}u) {
		{% for i in range(end=tm) %}
		let a{{ i }} = {% if a_vec %}{{ weight::at(of="a", at="(a_offset + r" ~ i ~ " * " ~ a_row ~ "u + k) / 4u", vec=true, half=a_half) }}{% else %}vec4<f32>({{ weight::at(of="a", at="a_offset + r" ~ i ~ " * " ~ a_row ~ "u + k * " ~ a_col ~ "u", vec=false, half=a_half) }}){% endif %};
		{% endfor %}
		{% for kk in range(end=k_step) %}
		{% for j in range(end=tn4) %}
		{% if b_vec %}
		let b{{ kk }}_{{ j }} = {{ weight::at(of="b", at="(b_offset + (k + " ~ kk ~ "u) * " ~ n ~ "u) / 4u + c" ~ j, vec=true, half=b_half) }};
		{% else %}
		let i{{ kk }}_{{ j }} = vec4<u32>(b_offset + (k + {{ kk }}u) * {{ b_row }}u) + c{{ j }} * {{ b_col }}u;
		let b{{ kk }}_{{ j }} = vec4<f32>({% for axis in ["x", "y", "z", "w"] %}{{ weight::at(of="b", at="i" ~ kk ~ "_" ~ j ~ "." ~ axis, vec=false, half=b_half) }}, {% endfor %});
		{% endif %}
		{% endfor %}
		{% for i in range(end=tm) %}{% for j in range(end=tn4) %}
		s{{ i }}_{{ j }} += a{{ i }}[{{ kk }}] * b{{ kk }}_{{ j }};
		{% endfor %}{% endfor %}
		{% endfor %}
	}
	{% endif %}
	let c_offset = stack * {{ m * n }}u;
	{% for i in range(end=tm) %}
	{% if not m_full %}if (row + {{ i }}u < {{ m }}u) { {% endif %}
	{% for j in range(end=tn4) %}
	{
		let at = (col + {{ j * step_j }}u) * 4u;
		let edge = min(vec4<u32>(at) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>({{ n - 1 }}u));
		var v = {{ alpha }}s{{ i }}_{{ j }};
		{% if bias == "scalar" %}
		v += {{ beta }}bias[0];
		{% elif bias == "row" %}
		v += {{ beta }}bias[row + {{ i }}u];
		{% elif bias == "column" %}
		v += {{ beta }}vec4<f32>(bias[edge.x], bias[edge.y], bias[edge.z], bias[edge.w]);
		{% elif bias == "full" %}
		let full = vec4<u32>((row + {{ i }}u) * {{ n }}u) + edge;
		v += {{ beta }}vec4<f32>(bias[full.x], bias[full.y], bias[full.z], bias[full.w]);
		{% endif %}
		{% if residual %}
		let other = vec4<u32>(c_offset + (row + {{ i }}u) * {{ n }}u) + edge;
		v += vec4<f32>(residual[other.x], residual[other.y], residual[other.z], residual[other.w]);
		{% endif %}
		v = act(v);
		{% if c_vec %}
		{% if not n_full %}if (col + {{ j * step_j }}u < {{ n4 }}u) { {% endif %}
		c[(c_offset + (row + {{ i }}u) * {{ n }}u) / 4u + col + {{ j * step_j }}u] = v;
		{% if not n_full %} } {% endif %}
		{% else %}
		{% for q in range(end=4) %}
		if (at + {{ q }}u < {{ n }}u) { c[c_offset + (row + {{ i }}u) * {{ n }}u + at + {{ q }}u] = v[{{ q }}]; }
		{% endfor %}
		{% endif %}
	}
	{% endfor %}
	{% if not m_full %} } {% endif %}
	{% endfor %}
}
