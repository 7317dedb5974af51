{# // Statements over one element of each input, broadcast; T is vec4<f32> where the rows allow it. #}
{{ declarations }}
@group(0) @binding({{ binding }}) var<storage, read_write> out: array<T>;
alias T = {% if vec %}vec4<f32>{% else %}f32{% endif %};
alias U = {% if vec %}vec4<u32>{% else %}u32{% endif %};
{{ helpers }}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
	let i = (group.x + group.y * {{ groups_x }}u) * 64u + lane;
	if (i >= {{ count }}u) { return; }
	{{ code }}
	out[i] = result;
}
