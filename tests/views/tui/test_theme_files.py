from pathlib import Path

import pytest

from kvtop.views.tui.themes.theme_files import ThemeFileError, load_themes, read_theme, themes_dir

OURS = {"dark", "light", "high-contrast", "colour-blind-safe", "amber", "green", "solarized", "terminal"}


def test_our_themes_load() -> None:
    loaded = load_themes(themes_dir())
    assert {theme.name for theme in loaded.themes} >= OURS
    assert loaded.problems == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('primary = "#12"', ("primary", "#12", "not a colour")),
        ('primary = "#123456"\nprimray = "x"', ("unknown key 'primray'", "accepted", "primary")),
        ('primary = "#123456"\n[variables]\nwieghts = "red"', ("variables", "wieghts", "weights")),
        ('primary = "#123456"\n[variables]\nweights = 3', ("variables.weights", "3")),
        ('primary = "#123456"\ndark = "yes"', ("dark", "true or false")),
        ('primary = "#123456"\ntext_alpha = true', ("text_alpha", "number")),
        ('name = "x"', ("primary", "missing")),
        ("primary = ", ("Invalid value",)),
    ],
)
def test_a_broken_theme_names_file_key_and_what_is_accepted(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ThemeFileError) as caught:
        read_theme(path)
    assert str(path) in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_a_broken_theme_does_not_hide_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("primary = ")
    (tmp_path / "b.toml").write_text('primary = "#123456"')
    loaded = load_themes(tmp_path)
    assert [theme.name for theme in loaded.themes] == ["b"]
    assert len(loaded.problems) == 1
