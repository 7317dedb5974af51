{#
// Matrix product c = act(alpha * a x b + beta * bias), one stack per z. Each invocation computes tm rows x tn4 vec4
// columns in registers. a_vec / b_vec: rows of a / b (and c) can be read as vec4; otherwise by single floats.
#}
@group(0) @binding(0) var<storage, read> a: array<{% if a_vec %}vec4<f32>{% else %}f32{% endif %}>;
@group(0) @binding(1) var<storage, read> b: array<{% if b_vec %}vec4<f32>{% else %}f32{% endif %}>;
{% if bias != "none" %}@group(0) @binding(2) var<storage, read> bias: array<f32>;{% endif %}
{% if residual %}@group(0) @binding({{ residual_binding }}) var<storage, read> residual: array<f32>;{% endif %}
@group(0) @binding({{ output_binding }}) var<storage, read_write> c: array<{% if b_vec %}vec4<f32>{% else %}f32{% endif %}>;

alias T = vec4<f32>;
{{ helpers }}
fn act(v: T) -> T {
	{{ activation }}
}

@compute @workgroup_size({{ size_x }}, {{ size_y }})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
	{# tiles are numbered in one row: no axis of the dispatch ends at 65,535 #}
	let number = group.x + group.y * {{ groups_x }}u;
	let stack = number / {{ groups_n * groups_m }}u;
	let col = (number % {{ groups_n }}u * {{ size_x }}u + local.x) * {{ tn4 }}u; // in vec4s
	let row = (number / {{ groups_n }}u % {{ groups_m }}u * {{ size_y }}u + local.y) * {{ tm }}u;
	if (col >= {{ n4 }}u || row >= {{ m }}u || stack >= {{ stacks }}u) { return; }
	let a_offset = {{ a_offset }};
	let b_offset = {{ b_offset }};
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
	{% for i in range(end=tm) %}{% for j in range(end=tn4) %}
	var s{{ i }}_{{ j }} = vec4<f32>();
	{% endfor %}{% endfor %}
	for (var k = 0u; k < {{ k }}u; k += {{ k_step }}u) {
		{% for i in range(end=tm) %}
		let a{{ i }} = {% if a_vec %}a[(a_offset + r{{ i }} * {{ a_row }}u + k) / 4u]{% else %}vec4<f32>(a[a_offset + r{{ i }} * {{ a_row }}u + k * {{ a_col }}u]){% endif %};
		{% endfor %}
		{% for kk in range(end=k_step) %}
		{% for j in range(end=tn4) %}
		{% if b_vec %}
		let b{{ kk }}_{{ j }} = b[(b_offset + (k + {{ kk }}u) * {{ n }}u) / 4u + c{{ j }}];
		{% else %}
		let i{{ kk }}_{{ j }} = vec4<u32>(b_offset + (k + {{ kk }}u) * {{ b_row }}u) + c{{ j }} * {{ b_col }}u;
		let b{{ kk }}_{{ j }} = vec4<f32>(b[i{{ kk }}_{{ j }}.x], b[i{{ kk }}_{{ j }}.y], b[i{{ kk }}_{{ j }}.z], b[i{{ kk }}_{{ j }}.w]);
		{% endif %}
		{% endfor %}
		{% for i in range(end=tm) %}{% for j in range(end=tn4) %}
		s{{ i }}_{{ j }} += a{{ i }}[{{ kk }}] * b{{ kk }}_{{ j }};
		{% endfor %}{% endfor %}
		{% endfor %}
	}
	let c_offset = stack * {{ m * n }}u;
	{% for i in range(end=tm) %}
	{% if not m_full %}if (row + {{ i }}u < {{ m }}u) { {% endif %}
	{% for j in range(end=tn4) %}
	{
		let at = (col + {{ j }}u) * 4u;
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
		{% if b_vec %}
		{% if not n_full %}if (col + {{ j }}u < {{ n4 }}u) { {% endif %}
		c[(c_offset + (row + {{ i }}u) * {{ n }}u) / 4u + col + {{ j }}u] = v;
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
