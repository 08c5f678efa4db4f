"""Every rule refuses a graph that breaks it, names the operator, and passes the same graph put right."""

import onnx_ir as ir
import pytest

from worldmodel.errors import InputError
from worldmodel.export.check.parsers import parser_of
from worldmodel.export.check.rules import RULES, Finding, check_graph


def graph(
    body: str, inputs: str = "float[2,3] x", outputs: str = "float[2,3] y", opset: int = 20, more: str = ""
) -> ir.Model:
    """A graph whose values have types, as ONNX infers them."""
    import onnx

    text = f'<ir_version: 10, opset_import: ["" : {opset}{more}]>\ng ({inputs}) => ({outputs}) {{ {body} }}'
    return ir.from_proto(onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text)))


def found(model: ir.Model, version: str = "10.3") -> list[Finding]:
    return check_graph(model, parser_of(version))


def quantised(zero: str) -> ir.Model:
    constants = f"s = Constant<value_float = 0.1>()  z = Constant<value = {zero}>()"
    return graph(f"{constants}  q = QuantizeLinear(x, s, z)  y = DequantizeLinear(q, s, z)")


def resized(mode: str) -> ir.Model:
    body = f'r = Constant<value_floats = [1.0, 2.0]>()  y = Resize<mode = "{mode}">(x, , r)'
    return graph(body, outputs="float[2,6] y")


TWO = "float[2,3] x, float[3,3] w"
CASES = {
    # rule: (model that breaks it, what is said, the model put right)
    "opset": (graph("y = Relu(x)", opset=24), "TensorRT 10.3 takes opset 9 to 20", graph("y = Relu(x)")),
    "operator": (graph("a, b = Unique(x)  y = Relu(x)"), "has no operator Unique", graph("y = Relu(x)")),
    "type": (
        graph("a = Cast<to = 11>(x)  b = Add(a, a)  y = Cast<to = 1>(b)"),
        "is double, which TensorRT does not compute in",
        graph("a = Cast<to = 16>(x)  b = Add(a, a)  y = Cast<to = 1>(b)"),
    ),
    "uint8": (
        graph("a = Cast<to = 2>(x)  y = Transpose<perm = [1, 0]>(a)", outputs="uint8[3,2] y"),
        "Cast makes uint8; only a Cast to an output",
        graph("a = Transpose<perm = [1, 0]>(x)  y = Cast<to = 2>(a)", outputs="uint8[3,2] y"),
    ),
    "mixed types": (
        graph("a = Cast<to = 10>(x)  y = MatMul(a, w)", inputs=TWO),
        "MatMul of float and float16",
        graph("a = Cast<to = 10>(x)  b = Cast<to = 10>(w)  c = MatMul(a, b)  y = Cast<to = 1>(c)", inputs=TWO),
    ),
    "quantisation": (quantised("uint8 {128}"), "QuantizeLinear to uint8: TensorRT takes", quantised("int8 {0}")),
    "attribute": (resized("cubic"), "Resize with mode=cubic", resized("nearest")),
    "fusion": (
        graph("y = ScatterND(x, i, u)", inputs="float[2,3] x, int64[1,1] i, float[1,3] u"),
        "1 x ScatterND: builds, but",
        graph("y = Relu(x)"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", CASES)
def test_rule(rule: str) -> None:
    broken, said, right = CASES[rule]
    findings = [finding for finding in found(broken) if finding.rule == rule]
    assert findings and said in str(findings[0])
    assert found(right) == []
    assert findings[0].fatal is (rule != "fusion")


def test_attention_in_fp32_is_refused_where_the_operator_exists() -> None:
    text = "y = Attention(q, q, q)"
    model = graph(text, inputs="float[1,2,4,8] q", outputs="float[1,2,4,8] y", opset=23)
    assert {finding.rule for finding in found(model, "10.3")} == {"opset", "operator", "attention"}
    assert {finding.rule for finding in found(model, "10.16")} == {"attention"}
    half = graph(text, inputs="float16[1,2,4,8] q", outputs="float16[1,2,4,8] y", opset=23)
    assert found(half, "10.16") == []


def test_a_zero_point_other_than_zero_is_refused() -> None:
    findings = found(quantised("int8 {3}"))
    assert len(findings) == 2 and "with a zero point" in str(findings[0])


def test_operators_of_other_domains_are_named() -> None:
    model = graph("y = com.example.FastGelu(x)", more=', "com.example" : 1')
    assert "com.example.FastGelu is no ONNX operator" in str(found(model)[0])


def test_bodies_of_loops_are_looked_into() -> None:
    body = "(int64 i, bool c, float[2,3] a) => (bool d, float[2,3] b) { d = Identity(c)  e = Det(a)  b = Identity(a) }"
    model = graph(f"n = Constant<value_int = 3>()  y = Loop<body = step {body}>(n, , x)")
    assert any("Det" in str(finding) for finding in found(model))


@pytest.mark.parametrize(
    ("version", "highest"), [("10.3.0", 20), ("10.7", 20), ("10.16.2", 24), ("11.4.1", 25), ("12.0", 25)]
)
def test_the_newest_known_parser_that_is_not_newer_judges(version: str, highest: int) -> None:
    assert parser_of(version).highest_opset == highest


def test_old_versions_are_refused() -> None:
    with pytest.raises(InputError, match="TensorRT 8.6.1: artifacts need 10.3 or newer"):
        parser_of("8.6.1")


def test_operators_come_with_versions() -> None:
    assert not {"Attention", "RMSNormalization"} & parser_of("10.13").operators
    assert {"Attention", "RMSNormalization", "RotaryEmbedding"} <= parser_of("10.16").operators


def test_every_rule_says_how_it_is_known() -> None:
    assert all(rule.__doc__ for rule in RULES)
