{#
// (x - mean) / sqrt(variance + epsilon) * scale + shift over rows of n elements. Scale and shift go by element
// (LayerNormalization) or by row % channels (InstanceNormalization). One row per invocation or per workgroup.
#}
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> g: array<f32>;
{% if shift %}@group(0) @binding(2) var<storage, read> b: array<f32>;{% endif %}
@group(0) @binding({{ output_binding }}) var<storage, read_write> y: array<f32>;
{% if threads > 1 %}
var<workgroup> part: array<f32, {{ threads }}>;
{% endif %}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
	{% if threads > 1 %}
	let row = group.x + group.y * {{ groups_x }}u;
	let first = lane;
	{% else %}
	let row = (group.x + group.y * {{ groups_x }}u) * 64u + lane;
	let first = 0u;
	{% endif %}
	if (row >= {{ rows }}u) { return; }
	let base = row * {{ n }}u;
	var sum = 0.0;
	for (var k = first; k < {{ n }}u; k += {{ threads }}u) { sum += x[base + k]; }
	{% for pass in range(end=2) %}
	{% if threads > 1 %}
	part[lane] = sum;
	workgroupBarrier();
	for (var h = {{ threads / 2 | int }}u; h > 0u; h /= 2u) {
		if (lane < h) { part[lane] += part[lane + h]; }
		workgroupBarrier();
	}
	sum = part[0];
	workgroupBarrier();
	{% endif %}
	{% if loop.first %}
	let mean = sum / {{ n }}.0;
	sum = 0.0;
	for (var k = first; k < {{ n }}u; k += {{ threads }}u) { let d = x[base + k] - mean; sum += d * d; }
	{% endif %}
	{% endfor %}
	let scale = inverseSqrt(sum / {{ n }}.0 + {{ epsilon }});
	for (var k = first; k < {{ n }}u; k += {{ threads }}u) {
		let at = {% if channels > 0 %}row % {{ channels }}u{% else %}k{% endif %};
		y[base + k] = (x[base + k] - mean) * scale * g[at]{% if shift %} + b[at]{% endif %};
	}
}
