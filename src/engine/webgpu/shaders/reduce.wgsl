{# // One value of n elements: start (of the row's `base`), step(s, x), join of a and b, finish(s). #}
{% import "row" as row %}
{{ enable }}
@group(0) @binding(0) var<storage, read> data: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
{{ row::open(threads=threads, groups_x=groups_x, rows=rows, subgroups=subgroups) }}
	let base = {{ base }};
	var s = {{ start }};
	for (var k = first; k < {{ n }}u; k += {{ threads }}u) {
		let x = data[base + {{ offset }}];
		s = {{ step }};
	}
	{{ row::join(threads=threads, value="s", by=join, subgroups=subgroups) }}
	if (first == 0u) { y[row] = {{ finish }}; }
}
