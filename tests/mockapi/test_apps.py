import pytest
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from mockapi.apps import MockApiConfig


@pytest.fixture
def config() -> MockApiConfig:
    config = apps.get_app_config("mockapi")
    assert isinstance(config, MockApiConfig)
    return config


@pytest.mark.parametrize(("debug", "enabled"), [(True, False), (False, True), (True, True)])
def test_loads_with_debug_or_when_enabled(
    config: MockApiConfig, settings: Settings, debug: bool, enabled: bool
) -> None:
    settings.DEBUG = debug
    settings.MOCKAPI_ENABLED = enabled

    config.ready()


def test_refuses_to_load_without_debug(config: MockApiConfig, settings: Settings) -> None:
    settings.DEBUG = False
    settings.MOCKAPI_ENABLED = False

    with pytest.raises(ImproperlyConfigured, match="set MOCKAPI_ENABLED = True"):
        config.ready()


def test_is_not_enabled_by_default(config: MockApiConfig, settings: Settings) -> None:
    settings.DEBUG = False
    settings.MOCKAPI_ENABLED = True  # so that there is always one to delete
    del settings.MOCKAPI_ENABLED

    with pytest.raises(ImproperlyConfigured):
        config.ready()
