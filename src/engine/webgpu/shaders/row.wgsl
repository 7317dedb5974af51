{# // What the shaders of rows share: a row belongs to one invocation (threads = 1) or to one workgroup. #}

{# // Opens main: the invocation's row, and its first element `first`; the next ones are `threads` apart. #}
{% macro open(threads, groups_x, rows, subgroups) %}
{% if threads > 1 %}
var<workgroup> part: array<f32, {{ threads }}>;
{% endif %}
@compute @workgroup_size(64)
fn main(
	@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32,
	{% if subgroups %}@builtin(subgroup_id) subgroup: u32, @builtin(num_subgroups) subgroups: u32,
	@builtin(subgroup_invocation_id) seat: u32,{% endif %}
) {
	{% if threads > 1 %}
	let row = group.x + group.y * {{ groups_x }}u;
	let first = lane;
	{% else %}
	let row = (group.x + group.y * {{ groups_x }}u) * 64u + lane;
	let first = 0u;
	{% endif %}
	if (row >= {{ rows }}u) { return; }
{% endmacro open %}

{#
// Gives every thread of the row the same `value`, joined out of all: by "add", "max" or "min". A subgroup joins without
// memory; its result is then one of at most 64 that every thread joins for itself.
#}
{% macro join(threads, value, by, subgroups) %}
	{% if threads > 1 and subgroups %}
	{% if by == "add" %}{{ value }} = subgroupAdd({{ value }});
	{% elif by == "max" %}{{ value }} = subgroupMax({{ value }});
	{% else %}{{ value }} = subgroupMin({{ value }});{% endif %}
	if (seat == 0u) { part[subgroup] = {{ value }}; }
	workgroupBarrier();
	{{ value }} = part[0];
	for (var h = 1u; h < subgroups; h += 1u) { {{ value }} = {{ self::pair(by=by, a=value, b="part[h]") }}; }
	workgroupBarrier();
	{% elif threads > 1 %}
	part[lane] = {{ value }};
	workgroupBarrier();
	for (var h = {{ threads / 2 | int }}u; h > 0u; h /= 2u) {
		if (lane < h) { part[lane] = {{ self::pair(by=by, a="part[lane]", b="part[lane + h]") }}; }
		workgroupBarrier();
	}
	{{ value }} = part[0];
	workgroupBarrier();
	{% endif %}
{% endmacro join %}

{% macro pair(by, a, b) %}{% if by == "add" %}{{ a }} + {{ b }}{% else %}{{ by }}({{ a }}, {{ b }}){% endif %}{% endmacro pair %}
