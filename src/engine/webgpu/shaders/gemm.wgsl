{#
// Matrix product c = act(alpha * a x b + beta * bias + residual). Each invocation computes tm rows x tn4 vec4 columns in
// registers. a_vec / b_vec: rows of a / b (and c) can be read as vec4; otherwise by single floats. a_half / b_half: they
// are in f16. With `shared` a workgroup first brings what all its threads read to workgroup memory, k_tile
// columns of a and rows of b at a time; its threads' columns then lie size_x apart and their rows size_y apart, so that
// neighbours read neighbours. With `slices` above 1 as many threads share a result, each for its part of k_tile.
// `gather`: b is an image of a convolution, each of whose columns is all that one pixel of the result sees of it.
#}
{% import "weight" as weight %}
@group(0) @binding({{ a_binding }}) var<storage, read> a: array<{{ weight::element(vec=a_vec, half=a_half) }}>;
@group(0) @binding({{ 1 - a_binding }}) var<storage, read> b: array<{{ weight::element(vec=b_vec, half=b_half) }}>;
{% if bias != "none" %}@group(0) @binding(2) var<storage, read> bias: array<f32>;{% endif %}
{% if residual %}@group(0) @binding({{ residual_binding }}) var<storage, read> residual: array<f32>;{% endif %}
@group(0) @binding({{ output_binding }}) var<storage, read_write> c: array<{% if c_vec %}vec4<f32>{% else %}f32{% endif %}>;
{% if shared %}
{# Arrays of arrays, so that threads differ only in indices that stay the same throughout: the checks that WebGPU adds to an
// index that it does not know, and the arithmetic, are then done once instead of at every access. #}
var<workgroup> a_tile: array<array<array<vec4<f32>, {{ a_wide }}>, {{ size_y }}>, {{ tm }}>;
var<workgroup> b_tile: array<array<array<array<vec4<f32>, {{ size_x }}>, {{ tn4 }}>, 4>, {{ k4 }}>;
{% if slices > 1 %}var<workgroup> sums: array<vec4<f32>, {{ sum_count }}>;{% endif %}
{% endif %}

{% if a_half or b_half %}{{ weight::helpers() }}{% endif %}
{% if gather %}
// Pixels `at` to at + 3 of the result, as columns of a matrix whose rows go by channel, then by place in the kernel.
fn seen(image: u32, row: u32, at: u32) -> vec4<f32> {
	let channel = image + row / {{ kh * kw }}u * {{ ih * iw }}u;
	let down = i32(row / {{ kw }}u % {{ kh }}u * {{ dilation_y }}u) - {{ pad_y }};
	let across = i32(row % {{ kw }}u * {{ dilation_x }}u) - {{ pad_x }};
	{# the four share a line where lines are of whole fours #}
	{% for i in range(end=4) %}
	{% if i == 0 or ow % 4 != 0 %}
	let y{{ i }} = i32((at + {{ i }}u) / {{ ow }}u * {{ stride_y }}u) + down;
	let line{{ i }} = channel + u32(clamp(y{{ i }}, 0, {{ ih - 1 }})) * {{ iw }}u;
	let inside{{ i }} = y{{ i }} >= 0 && y{{ i }} < {{ ih }};
	let x{{ i }} = i32((at + {{ i }}u) % {{ ow }}u * {{ stride_x }}u) + across;
	{% else %}
	let line{{ i }} = line0;
	let inside{{ i }} = inside0;
	let x{{ i }} = x0 + {{ i * stride_x }};
	{% endif %}
	{% endfor %}
	return select(
		vec4<f32>(),
		vec4<f32>({% for i in range(end=4) %}b[line{{ i }} + u32(clamp(x{{ i }}, 0, {{ iw - 1 }}))], {% endfor %}),
		vec4<bool>({% for i in range(end=4) %}inside{{ i }} && x{{ i }} >= 0 && x{{ i }} < {{ iw }}, {% endfor %}),
	);
}
{% endif %}
alias T = vec4<f32>;
alias U = vec4<u32>;
{{ helpers }}
fn act(v: T) -> T {
	{{ activation }}
}

@compute @workgroup_size({{ size_x }}, {{ size_y }}, {{ slices }})
fn main(
	@builtin(workgroup_id) group: vec3<u32>,
	@builtin(local_invocation_id) local: vec3<u32>,
	@builtin(local_invocation_index) lane: u32,
) {
	{# tiles are numbered in one row: no axis of the dispatch ends at 65,535 #}
	let number = group.x + group.y * {{ groups_x }}u;
	let stack = number / {{ groups_n * groups_m }}u;
	{% if shared %}
	{# What runs at the same time shares few rows of a and few columns of b, rather than all of b: caches are small. #}
	let tile = number % {{ groups_n * groups_m }}u;
	let panel = tile / {{ panel * groups_n }}u * {{ panel }}u;
	let high = min({{ panel }}u, {{ groups_m }}u - panel);
	let place = tile % {{ panel * groups_n }}u;
	let left = place / high * {{ size_x * tn4 }}u; // in vec4s
	let top = (panel + place % high) * {{ size_y * tm }}u;
	{% else %}
	let left = number % {{ groups_n }}u * {{ size_x * tn4 }}u; // in vec4s
	let top = number / {{ groups_n }}u % {{ groups_m }}u * {{ size_y * tm }}u;
	{% endif %}
	let col = left + local.x{% if not shared %} * {{ tn4 }}u{% endif %};
	let row = top + local.y{% if not shared %} * {{ tm }}u{% endif %};
	let a_offset = {{ a_offset }};
	let b_offset = {{ b_offset }};
	{% for i in range(end=tm) %}{% for j in range(end=tn4) %}
	var s{{ i }}_{{ j }} = vec4<f32>();
	{% endfor %}{% endfor %}
	{% if shared %}
	if (stack >= {{ stacks }}u) { return; }
	{# What is read beyond the last row or column only goes into results there, which nobody writes. Beyond k it has to be
	// zero. #}
	{% for u in range(end=a_loads) %}
	let ta{{ u }} = {% if a_even %}lane + {{ u * threads }}u{% else %}min(lane + {{ u * threads }}u, {{ a_count - 1 }}u){% endif %};
	let ka{{ u }} = ta{{ u }} % {{ k4 }}u;
	let ra{{ u }} = ta{{ u }} / {{ k4 }}u;
	var fa{{ u }} = (a_offset + (top + ra{{ u }}) * {{ a_row }}u) / 4u + ka{{ u }};
	{% endfor %}
	{% for u in range(end=b_loads) %}
	let tb{{ u }} = {% if b_even %}lane + {{ u * threads }}u{% else %}min(lane + {{ u * threads }}u, {{ b_count - 1 }}u){% endif %};
	let kb{{ u }} = tb{{ u }} / {{ size_x * tn4 }}u;
	let cb{{ u }} = tb{{ u }} % {{ size_x * tn4 }}u;
	{% if not gather %}
	var fb{{ u }} = (b_offset + kb{{ u }} * {{ n }}u) / 4u + left + cb{{ u }};
	{% endif %}
	{% endfor %}
	for (var k = 0u; k < {{ k }}u; k += {{ k_tile }}u) {
		{% for u in range(end=a_loads) %}
		let a_found{{ u }} = {{ weight::at(of="a", at="fa" ~ u, vec=true, half=a_half) }};
		let va{{ u }} = {% if k_full %}a_found{{ u }}{% else %}select(vec4<f32>(), a_found{{ u }}, k + ka{{ u }} * 4u < {{ k }}u){% endif %};
		fa{{ u }} += {{ k4 }}u;
		{% endfor %}
		{% for u in range(end=b_loads) %}
		{% if gather %}
		let b_found{{ u }} = seen(b_offset, k + kb{{ u }}, (left + cb{{ u }}) * 4u);
		{% else %}
		let b_found{{ u }} = {{ weight::at(of="b", at="fb" ~ u, vec=true, half=b_half) }};
		fb{{ u }} += {{ k4 * n }}u;
		{% endif %}
		let vb{{ u }} = {% if k_full %}b_found{{ u }}{% else %}select(vec4<f32>(), b_found{{ u }}, k + kb{{ u }} < {{ k }}u){% endif %};
		{% endfor %}
		{% for u in range(end=a_loads) %}
		a_tile[ra{{ u }} / {{ size_y }}u][ra{{ u }} % {{ size_y }}u][ka{{ u }}] = va{{ u }};
		{% endfor %}
		{% for u in range(end=b_loads) %}
		b_tile[kb{{ u }} / 4u][kb{{ u }} % 4u][cb{{ u }} / {{ size_x }}u][cb{{ u }} % {{ size_x }}u] = vb{{ u }};
		{% endfor %}
		workgroupBarrier();
		{% for p in range(end=part) %}
		{
			{% if slices > 1 %}let q = local.z * {{ part }}u + {{ p }}u;{% else %}const q = {{ p }}u;{% endif %}
			{% for i in range(end=tm) %}
			let a{{ i }} = a_tile[{{ i }}][local.y][q];
			{% endfor %}
			{% for kk in range(end=4) %}
			{% for j in range(end=tn4) %}
			let b{{ kk }}_{{ j }} = b_tile[q][{{ kk }}][{{ j }}][local.x];
			{% endfor %}
			{% for i in range(end=tm) %}{% for j in range(end=tn4) %}
			s{{ i }}_{{ j }} += a{{ i }}[{{ kk }}] * b{{ kk }}_{{ j }};
			{% endfor %}{% endfor %}
			{% endfor %}
		}
		{% endfor %}
		workgroupBarrier();
	}
	{% if slices > 1 %}
	let seat = local.x + local.y * {{ size_x }}u;
	{# row by row, for little memory #}
	{% for i in range(end=tm) %}
	if (local.z > 0u) {
		{% for j in range(end=tn4) %}
		sums[((local.z - 1u) * {{ tn4 }}u + {{ j }}u) * {{ size_x * size_y }}u + seat] = s{{ i }}_{{ j }};
		{% endfor %}
	}
	workgroupBarrier();
	if (local.z == 0u) {
		{% for z in range(end=slices - 1) %}{% for j in range(end=tn4) %}
		s{{ i }}_{{ j }} += sums[{{ (z * tn4 + j) * size_x * size_y }}u + seat];
		{% endfor %}{% endfor %}
	}
	workgroupBarrier();
	{% endfor %}
	if (local.z > 0u) { return; }
	{% endif %}
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
	{% if not m_full %}if (row + {{ i * step_i }}u < {{ m }}u) { {% endif %}
	{% for j in range(end=tn4) %}
	{
		let at = (col + {{ j * step_j }}u) * 4u;
		let edge = min(vec4<u32>(at) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>({{ n - 1 }}u));
		var v = {{ alpha }}s{{ i }}_{{ j }};
		{% if bias == "scalar" %}
		v += {{ beta }}bias[0];
		{% elif bias == "row" %}
		v += {{ beta }}bias[row + {{ i * step_i }}u];
		{% elif bias == "column" %}
		v += {{ beta }}vec4<f32>(bias[edge.x], bias[edge.y], bias[edge.z], bias[edge.w]);
		{% elif bias == "full" %}
		let full = vec4<u32>((row + {{ i * step_i }}u) * {{ n }}u) + edge;
		v += {{ beta }}vec4<f32>(bias[full.x], bias[full.y], bias[full.z], bias[full.w]);
		{% endif %}
		{% if residual %}
		let other = vec4<u32>(c_offset + (row + {{ i * step_i }}u) * {{ n }}u) + edge;
		v += vec4<f32>(residual[other.x], residual[other.y], residual[other.z], residual[other.w]);
		{% endif %}
		v = act(v);
		{% if c_vec %}
		{% if not n_full %}if (col + {{ j * step_j }}u < {{ n4 }}u) { {% endif %}
		c[(c_offset + (row + {{ i * step_i }}u) * {{ n }}u) / 4u + col + {{ j * step_j }}u] = v;
		{% if not n_full %} } {% endif %}
		{% else %}
		{% for q in range(end=4) %}
		if (at + {{ q }}u < {{ n }}u) { c[c_offset + (row + {{ i * step_i }}u) * {{ n }}u + at + {{ q }}u] = v[{{ q }}]; }
		{% endfor %}
		{% endif %}
	}
	{% endfor %}
	{% if not m_full %} } {% endif %}
	{% endfor %}
}
