{#
// The transforms of a convolution of 3 x 3 by Winograd's F(2 x 2, 3 x 3) (Lavin and Gray, CVPR 2016). The result is cut into
// tiles of 2 x 2; the sixteen matrices that are multiplied in between have a column for each tile of all images, and some to
// fill the last four.
#}
{% import "weight" as weight %}
@group(0) @binding(0) var<storage, read> x: array<{{ weight::element(vec=false, half=half) }}>;
{% if bias %}@group(0) @binding(1) var<storage, read> bias: array<f32>;{% endif %}
{% if residual %}@group(0) @binding({{ residual_binding }}) var<storage, read> residual: array<f32>;{% endif %}
@group(0) @binding({{ output_binding }}) var<storage, read_write> y: array<f32>;

{% if half %}{{ weight::helpers() }}{% endif %}
alias T = f32;
alias U = u32;
{{ helpers }}
fn act(v: T) -> T {
	{{ activation }}
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
	let number = (group.x + group.y * {{ groups_x }}u) * 64u + lane;
	if (number >= {{ threads }}u) { return; }
	{% if stage == "weights" %}
	{# one kernel g: G g G^T #}
	{% for row in range(end=3) %}
	let g{{ row }} = vec3<f32>({% for column in range(end=3) %}{% set tap = row * 3 + column %}{{ weight::at(of="x", at="number * 9u + " ~ tap ~ "u", vec=false, half=half) }}, {% endfor %});
	{% endfor %}
	let r = array<vec3<f32>, 4>(g0, 0.5 * (g0 + g1 + g2), 0.5 * (g0 - g1 + g2), g2);
	{% for row in range(end=4) %}{% set at = row * 4 * threads %}
	y[number + {{ at }}u] = r[{{ row }}].x;
	y[number + {{ at + threads }}u] = 0.5 * (r[{{ row }}].x + r[{{ row }}].y + r[{{ row }}].z);
	y[number + {{ at + 2 * threads }}u] = 0.5 * (r[{{ row }}].x - r[{{ row }}].y + r[{{ row }}].z);
	y[number + {{ at + 3 * threads }}u] = r[{{ row }}].z;
	{% endfor %}
	{% else %}
	let column = number % {{ columns }}u;
	let channel = number / {{ columns }}u;
	let tile = min(column, {{ tiles - 1 }}u);
	let image = tile / {{ across * down }}u;
	let top = tile / {{ across }}u % {{ down }}u * 2u;
	let left = tile % {{ across }}u * 2u;
	{% if stage == "input" %}
	{# one tile d of 4 x 4, which overlaps its neighbours: B^T d B #}
	let plane = (image * {{ cin }}u + channel) * {{ ih * iw }}u;
	{% for j in range(end=4) %}
	let x{{ j }} = i32(left) + {{ j }} - {{ pad_x }};
	let p{{ j }} = u32(clamp(x{{ j }}, 0, {{ iw - 1 }}));
	let q{{ j }} = x{{ j }} >= 0 && x{{ j }} < {{ iw }};
	{% endfor %}
	{% for i in range(end=4) %}
	let y{{ i }} = i32(top) + {{ i }} - {{ pad_y }};
	let line{{ i }} = plane + u32(clamp(y{{ i }}, 0, {{ ih - 1 }})) * {{ iw }}u;
	let inside{{ i }} = y{{ i }} >= 0 && y{{ i }} < {{ ih }};
	let d{{ i }} = select(vec4<f32>(), vec4<f32>(x[line{{ i }} + p0], x[line{{ i }} + p1], x[line{{ i }} + p2], x[line{{ i }} + p3]), vec4<bool>(inside{{ i }} && q0, inside{{ i }} && q1, inside{{ i }} && q2, inside{{ i }} && q3));
	{% endfor %}
	let t0 = d0 - d2;
	let t1 = d1 + d2;
	let t2 = d2 - d1;
	let t3 = d1 - d3;
	{% for i in range(end=4) %}{% set at = i * 4 * threads %}
	y[number + {{ at }}u] = t{{ i }}.x - t{{ i }}.z;
	y[number + {{ at + threads }}u] = t{{ i }}.y + t{{ i }}.z;
	y[number + {{ at + 2 * threads }}u] = t{{ i }}.z - t{{ i }}.y;
	y[number + {{ at + 3 * threads }}u] = t{{ i }}.y - t{{ i }}.w;
	{% endfor %}
	{% else %}
	{# one tile m of sixteen sums: A^T m A, of which no more is kept than the result has #}
	{% for i in range(end=4) %}
	let m{{ i }} = vec4<f32>({% for j in range(end=4) %}{% set at = i * 4 * threads + j * threads %}x[number + {{ at }}u], {% endfor %});
	{% endfor %}
	let r = array<vec4<f32>, 2>(m0 + m1 + m2, m1 - m2 - m3);
	if (column >= {{ tiles }}u) { return; }
	let first = ((image * {{ cout }}u + channel) * {{ oh }}u + top) * {{ ow }}u + left;
	{% for i in range(end=2) %}{% for j in range(end=2) %}
	if (top + {{ i }}u < {{ oh }}u && left + {{ j }}u < {{ ow }}u) {
		let at = first + {{ i * ow + j }}u;
		let sum = {% if j == 0 %}r[{{ i }}].x + r[{{ i }}].y + r[{{ i }}].z{% else %}r[{{ i }}].y - r[{{ i }}].z - r[{{ i }}].w{% endif %};
		y[at] = act(sum{% if bias %} + bias[channel]{% endif %}{% if residual %} + residual[at]{% endif %});
	}
	{% endfor %}{% endfor %}
	{% endif %}
	{% endif %}
}
