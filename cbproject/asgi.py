"""The ASGI entry point."""

import os

from circuits.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cbproject.settings")

application = get_asgi_application()
