"""`python -m ops.embedded redis|postgres [arguments for the server]`: this process becomes the embedded server."""

import sys

from common.errors import ConfigError
from common.lifecycle import EXIT_CONFIG
from common.settings import Settings
from ops.servers.instance import instance_urls
from ops.servers.postgres import exec_postgres
from ops.servers.private import PrivateServers
from ops.servers.redis import exec_redis

__all__ = ["PrivateServers", "instance_urls"]


def main(arguments: list[str]) -> int:
    """Become the named server; returns only if that is not possible."""
    try:
        settings = Settings.from_env()
        data_dir = settings.data_dir.absolute()
        match arguments:
            case ["postgres", *extra]:
                exec_postgres(data_dir, extra)
            case ["redis", *extra]:
                exec_redis(data_dir, settings.redis_max_mb, extra)
    except ConfigError as exc:
        sys.stderr.write(f"{' '.join(arguments[:1])}: {exc}\n")
        return EXIT_CONFIG
    sys.stderr.write("usage: python -m ops.embedded redis|postgres [arguments for the server]\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
