{#
// (x - mean) / sqrt(variance + epsilon) * scale + shift over rows of n elements. Scale and shift go by element
// (LayerNormalization) or by row % channels (InstanceNormalization). With `wide` four elements are read at once.
#}
{% import "row" as row %}
{{ enable }}
{% if wide %}{% set element = "vec4<f32>" %}{% set length = n / 4 | int %}{% set total = "dot(sums, vec4(1.0))" %}
{% else %}{% set element = "f32" %}{% set length = n %}{% set total = "sums" %}{% endif %}
@group(0) @binding(0) var<storage, read> x: array<{{ element }}>;
@group(0) @binding(1) var<storage, read> g: array<{{ element }}>;
{% if shift %}@group(0) @binding(2) var<storage, read> b: array<{{ element }}>;{% endif %}
@group(0) @binding({{ output_binding }}) var<storage, read_write> y: array<{{ element }}>;
{{ row::open(threads=threads, groups_x=groups_x, rows=rows, subgroups=subgroups) }}
	let base = row * {{ length }}u;
	var sums = {{ element }}(0.0);
	for (var k = first; k < {{ length }}u; k += {{ threads }}u) { sums += x[base + k]; }
	var sum = {{ total }};
	{{ row::join(threads=threads, value="sum", by="add", subgroups=subgroups) }}
	let mean = sum / {{ n }}.0;
	sums = {{ element }}(0.0);
	for (var k = first; k < {{ length }}u; k += {{ threads }}u) { let d = x[base + k] - mean; sums += d * d; }
	sum = {{ total }};
	{{ row::join(threads=threads, value="sum", by="add", subgroups=subgroups) }}
	let scale = inverseSqrt(sum / {{ n }}.0 + {{ epsilon }});
	for (var k = first; k < {{ length }}u; k += {{ threads }}u) {
		let at = {% if channels > 0 %}row % {{ channels }}u{% else %}k{% endif %};
		y[base + k] = (x[base + k] - mean) * scale * g[at]{% if shift %} + b[at]{% endif %};
	}
}
