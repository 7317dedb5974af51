{# // Softmax over n elements that lie `inner` apart: one row per invocation (threads = 1) or per workgroup #}
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
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
	let base = row / {{ inner }}u * {{ n * inner }}u + row % {{ inner }}u;

	var big = -3.4e38;
	for (var k = first; k < {{ n }}u; k += {{ threads }}u) { big = max(big, x[base + k * {{ inner }}u]); }
	{% if threads > 1 %}
	part[lane] = big;
	workgroupBarrier();
	for (var h = {{ threads / 2 | int }}u; h > 0u; h /= 2u) {
		if (lane < h) { part[lane] = max(part[lane], part[lane + h]); }
		workgroupBarrier();
	}
	big = part[0];
	workgroupBarrier();
	{% endif %}
	var sum = 0.0;
	for (var k = first; k < {{ n }}u; k += {{ threads }}u) {
		let e = exp(x[base + k * {{ inner }}u] - big);
		{% if not log %}y[base + k * {{ inner }}u] = e;{% endif %}
		sum += e;
	}
	{% if threads > 1 %}
	part[lane] = sum;
	workgroupBarrier();
	for (var h = {{ threads / 2 | int }}u; h > 0u; h /= 2u) {
		if (lane < h) { part[lane] += part[lane + h]; }
		workgroupBarrier();
	}
	sum = part[0];
	{% endif %}
	{% if log %}
	let shift = big + log(sum);
	for (var k = first; k < {{ n }}u; k += {{ threads }}u) { y[base + k * {{ inner }}u] = x[base + k * {{ inner }}u] - shift; }
	{% else %}
	let scale = 1.0 / sum;
	for (var k = first; k < {{ n }}u; k += {{ threads }}u) { y[base + k * {{ inner }}u] *= scale; }
	{% endif %}
}
