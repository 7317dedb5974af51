{#
// Reading a binding of f32 or, with `half`, of f16 in pairs; by vec4s with `vec`. Arithmetic is in f32 all the same: only
// memory and its traffic are halved, on every adapter.
#}
{% macro element(vec, half) %}{% if half and vec %}vec2<u32>{% elif half %}u32{% elif vec %}vec4<f32>{% else %}f32{% endif %}{% endmacro element %}

{% macro at(of, at, vec, half) %}{% if half and vec %}wide({{ of }}[{{ at }}]){% elif half %}single({{ of }}[({{ at }}) / 2u], {{ at }}){% else %}{{ of }}[{{ at }}]{% endif %}{% endmacro at %}

{% macro helpers() %}
fn wide(pairs: vec2<u32>) -> vec4<f32> { return vec4<f32>(unpack2x16float(pairs.x), unpack2x16float(pairs.y)); }
fn single(pair: u32, at: u32) -> f32 { return unpack2x16float(pair)[at % 2u]; }
{% endmacro helpers %}
