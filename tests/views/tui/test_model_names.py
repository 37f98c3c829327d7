import pytest

from kvtop.views.tui.widgets.model_names import model_text


@pytest.mark.parametrize(
    ("name", "width", "short"),
    [
        ("/srv/models/gemma-3-27b-it-Q4_K_M.gguf", 40, "gemma-3-27b-it-Q4_K_M"),
        ("gemma-3-27b-it-Q4_K_M", 18, "gemma-3-27b…Q4_K_M"),
        ("gemma-3-27b-it-Q4_K_M", 14, "gemma-3-27b…"),
        ("Llama-3.1-8B-Instruct-Q4_K_M", 18, "Llama…8B…Q4_K_M"),
        ("meta-llama/Llama-3.3-70B-Instruct", 14, "Llama-3.3-70B…"),
        ("Qwen3-30B-A3B-Instruct-2507-UD-Q4_K_XL", 28, "Qwen3-30B-A3B…UD-Q4_K_XL"),
        ("Qwen3-30B-A3B-Instruct-2507-UD-Q4_K_XL", 14, "Qwen3-30B-A3B…"),
        ("DeepSeek-R1-Distill-Llama-70B-Q4_K_M", 14, "DeepSeek…70B…"),
        ("phi-3.5-mini-instruct", 10, "phi-3.5…"),
        ("gpt-oss-120b-mxfp4-00001-of-00003.gguf", 20, "gpt-oss-120b-mxfp4"),
        ("sha256-667b0c1932bc6ffc593ed1d03f895bf2dc8dc6df21db3042284a6f4416b06a29", 18, "sha256-667b…b06a29"),
        (None, 10, "?"),
    ],
)
def test_a_name_is_shortened_by_meaning(name: str | None, width: int, short: str) -> None:
    assert model_text(name, width) == short


def test_no_number_is_cut_in_two_at_any_width() -> None:
    name = "Llama-3.1-405B-Instruct-Q4_K_M"
    for width in range(6, 40):
        words = model_text(name, width).replace("…", "-").strip("-").split("-")
        assert set(words) <= set(name.split("-"))
        assert len(model_text(name, width)) <= width
