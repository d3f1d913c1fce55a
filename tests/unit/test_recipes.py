"""Warm starts: recipes in a folder of their build, and the first start's warm-up beside them."""

import pytest

from tests.helpers.records import make_record
from w2v_core.backends.hpu_environment import RECIPE_CACHE, prepare_environment
from w2v_core.bench.recipes import cold_warm_up_s
from w2v_core.errors import DeviceError


def prepared(folder, **options):
    environ = {}
    prepare_environment(environ=environ, loaded=(), family="fork", recipe_cache=folder, **options)
    return environ


def test_the_second_start_knows_what_the_first_one_took(tmp_path):
    environ = prepared(tmp_path)

    assert cold_warm_up_s(make_record(warm_up_s=90.0), environ) is None
    assert cold_warm_up_s(make_record(warm_up_s=7.0), environ) == 90.0
    assert cold_warm_up_s(make_record(warm_up_s=6.0), environ) == 90.0


def test_another_cell_has_a_first_start_of_its_own(tmp_path):
    environ = prepared(tmp_path)
    cold_warm_up_s(make_record(), environ)

    assert cold_warm_up_s(make_record(batch_plan="sorted-8"), environ) is None


def test_each_mode_has_a_folder_of_its_own_that_is_made(tmp_path):
    folders = {
        prepared(tmp_path, execution=mode)[RECIPE_CACHE].partition(",")[0]
        for mode in ("lazy", "eager")
    }

    assert len(folders) == 2
    assert {str(path) for path in tmp_path.iterdir()} == folders


def test_without_a_cache_nothing_is_noted():
    assert cold_warm_up_s(make_record(), {}) is None


def test_a_cache_beside_another_one_in_the_environment_is_refused(tmp_path):
    environ = {RECIPE_CACHE: "/elsewhere,false,1024"}

    with pytest.raises(DeviceError, match="/elsewhere"):
        prepare_environment(environ=environ, loaded=(), family="fork", recipe_cache=tmp_path)


def test_a_folder_that_cannot_be_made_is_an_error_before_measuring(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(DeviceError, match="no recipe cache can be made"):
        prepared(tmp_path / "file")
