{#
// (x - mean) / sqrt(variance + epsilon) * scale + shift over rows of n elements. Scale and shift go by element
// (LayerNormalization) or by row % channels (InstanceNormalization).
#}
{% import "row" as row %}
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> g: array<f32>;
{% if shift %}@group(0) @binding(2) var<storage, read> b: array<f32>;{% endif %}
@group(0) @binding({{ output_binding }}) var<storage, read_write> y: array<f32>;
{{ row::open(threads=threads, groups_x=groups_x, rows=rows) }}
	let base = row * {{ n }}u;
	var sum = 0.0;
	for (var k = first; k < {{ n }}u; k += {{ threads }}u) { sum += x[base + k]; }
	{{ row::join(threads=threads, value="sum", by="a + b") }}
	let mean = sum / {{ n }}.0;
	sum = 0.0;
	for (var k = first; k < {{ n }}u; k += {{ threads }}u) { let d = x[base + k] - mean; sum += d * d; }
	{{ row::join(threads=threads, value="sum", by="a + b") }}
	let scale = inverseSqrt(sum / {{ n }}.0 + {{ epsilon }});
	for (var k = first; k < {{ n }}u; k += {{ threads }}u) {
		let at = {% if channels > 0 %}row % {{ channels }}u{% else %}k{% endif %};
		y[base + k] = (x[base + k] - mean) * scale * g[at]{% if shift %} + b[at]{% endif %};
	}
}
