{# // Moves elements: `code` finds `value` for the output's element i, or leaves what it is. #}
{% for input in range(end=inputs) %}
@group(0) @binding({{ input }}) var<storage, read> in{{ input }}: array<f32>;
{% endfor %}
@group(0) @binding({{ inputs }}) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
	let i = (group.x + group.y * {{ groups_x }}u) * 64u + lane;
	if (i >= {{ count }}u) { return; }
	var value = {{ filler }};
	{{ code }}
	out[i] = value;
}
