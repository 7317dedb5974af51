{# // One value of n elements: start, step(s, x), join(a, b), finish(s). One result per invocation or per workgroup. #}
@group(0) @binding(0) var<storage, read> data: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
{% if threads > 1 %}
var<workgroup> part: array<f32, {{ threads }}>;
fn join(a: f32, b: f32) -> f32 { return {{ join }}; }
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
	let base = {{ base }};
	var s = {{ start }};
	for (var k = first; k < {{ n }}u; k += {{ threads }}u) {
		let x = data[base + {{ offset }}];
		s = {{ step }};
	}
	{% if threads > 1 %}
	part[lane] = s;
	workgroupBarrier();
	for (var h = {{ threads / 2 | int }}u; h > 0u; h /= 2u) {
		if (lane < h) { part[lane] = join(part[lane], part[lane + h]); }
		workgroupBarrier();
	}
	s = part[0];
	if (lane > 0u) { return; }
	{% endif %}
	y[row] = {{ finish }};
}
