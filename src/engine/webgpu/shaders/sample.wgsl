{# // One output pixel of planes: resizing and pooling. `code` finds `value` from plane, oy, ox. #}
@group(0) @binding(0) var<storage, read> data: array<f32>;
{% if places %}@group(0) @binding(1) var<storage, read> places: array<f32>;{% endif %}
@group(0) @binding({% if places %}2{% else %}1{% endif %}) var<storage, read_write> out: array<f32>;

fn at(plane: u32, y: i32, x: i32) -> f32 {
	let iy = u32(clamp(y, 0, {{ ih - 1 }}));
	let ix = u32(clamp(x, 0, {{ iw - 1 }}));
	return data[(plane * {{ ih }}u + iy) * {{ iw }}u + ix];
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
	let i = (group.x + group.y * {{ groups_x }}u) * 64u + lane;
	if (i >= {{ count }}u) { return; }
	let ox = i % {{ ow }}u;
	let oy = i / {{ ow }}u % {{ oh }}u;
	let plane = i / {{ ow * oh }}u;
	{% if places %}
	let y = places[oy];
	let x = places[{{ oh }}u + ox];
	{% endif %}
	var value = 0.0;
	{{ code }}
	out[i] = value;
}
