"""The configuration of the server: Distribution's file and variables, and what is ours.

``settings`` are the values, ``reading`` makes them from a file, ``keys`` is the table of every key.
"""

from jettison.configuration.addresses import is_local, parse_address
from jettison.configuration.reading import for_folder, read_server_configuration
from jettison.configuration.settings import (
    ALGORITHMS,
    AccessRule,
    ActionName,
    ClientAuth,
    Debug,
    Endpoint,
    FileCheck,
    Health,
    Htpasswd,
    Http,
    HttpCheck,
    Limits,
    Log,
    Notifications,
    ServerConfiguration,
    Storage,
    StorageHealth,
    TcpCheck,
    Tls,
    Token,
    UploadPurging,
    UrlRules,
)

__all__ = [
    "ALGORITHMS",
    "AccessRule",
    "ActionName",
    "ClientAuth",
    "Debug",
    "Endpoint",
    "FileCheck",
    "Health",
    "Htpasswd",
    "Http",
    "HttpCheck",
    "Limits",
    "Log",
    "Notifications",
    "ServerConfiguration",
    "Storage",
    "StorageHealth",
    "TcpCheck",
    "Tls",
    "Token",
    "UploadPurging",
    "UrlRules",
    "for_folder",
    "is_local",
    "parse_address",
    "read_server_configuration",
]
