import doctest
import inspect
import re
from pathlib import Path

import pytest

import softmargin


def documented():
    for name in softmargin.__all__:
        thing = getattr(softmargin, name)
        yield name, thing
        if inspect.isclass(thing):
            for member in dir(thing):
                if not member.startswith("_"):
                    yield f"{name}.{member}", getattr(thing, member)


EXAMPLES = {name: thing.__doc__ for name, thing in documented() if ">>>" in (getattr(thing, "__doc__", None) or "")}


def test_the_main_names_have_examples():
    expected = {"Evaluator", "HingeClassifier", "Partial", "SoftmaxClassifier", "hessian_product", "loss_and_gradient"}
    expected |= {"HingeClassifierCV", "SoftmaxClassifierCV"}
    assert expected <= set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(name):
    test = doctest.DocTestParser().get_doctest(inspect.cleandoc(EXAMPLES[name]), {}, name, None, None)
    report = []
    failed, tried = doctest.DocTestRunner().run(test, out=report.append)
    assert tried and not failed, "".join(report)


def test_the_examples_of_the_readme():
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    blocks = re.findall("```python\n(.*?)```", readme, re.DOTALL)
    assert len(blocks) >= 3
    names = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
