{# // What the shaders of rows share: a row belongs to one invocation (threads = 1) or to one workgroup. #}

{# // Opens main: the invocation's row, and its first element `first`; the next ones are `threads` apart. #}
{% macro open(threads, groups_x, rows) %}
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
{% endmacro open %}

{# // Gives every thread of the row the same `value`, joined out of all by an expression of a and b. #}
{% macro join(threads, value, by) %}
	{% if threads > 1 %}
	part[lane] = {{ value }};
	workgroupBarrier();
	for (var h = {{ threads / 2 | int }}u; h > 0u; h /= 2u) {
		if (lane < h) { let a = part[lane]; let b = part[lane + h]; part[lane] = {{ by }}; }
		workgroupBarrier();
	}
	{{ value }} = part[0];
	workgroupBarrier();
	{% endif %}
{% endmacro join %}
