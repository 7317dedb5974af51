{# // Softmax over n elements that lie `inner` apart. #}
{% import "row" as row %}
{{ enable }}
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
{{ row::open(threads=threads, groups_x=groups_x, rows=rows, subgroups=subgroups) }}
	let base = row / {{ inner }}u * {{ n * inner }}u + row % {{ inner }}u;
	{# not from the least f32 there is, which masks put into whole rows #}
	var big = x[base];
	for (var k = first; k < {{ n }}u; k += {{ threads }}u) { big = max(big, x[base + k * {{ inner }}u]); }
	{{ row::join(threads=threads, value="big", by="max", subgroups=subgroups) }}
	var sum = 0.0;
	for (var k = first; k < {{ n }}u; k += {{ threads }}u) {
		let e = exp(x[base + k * {{ inner }}u] - big);
		{% if not log %}y[base + k * {{ inner }}u] = e;{% endif %}
		sum += e;
	}
	{{ row::join(threads=threads, value="sum", by="add", subgroups=subgroups) }}
	{% if log %}
	let shift = big + log(sum);
	for (var k = first; k < {{ n }}u; k += {{ threads }}u) { y[base + k * {{ inner }}u] = x[base + k * {{ inner }}u] - shift; }
	{% else %}
	let scale = 1.0 / sum;
	for (var k = first; k < {{ n }}u; k += {{ threads }}u) { y[base + k * {{ inner }}u] *= scale; }
	{% endif %}
}
