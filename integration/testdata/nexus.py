# What a build script does with the client library of nexus3-cli: upload a
# folder, list it, download it, delete it. The URL and the password are given,
# then a folder to send and one to make.
import sys

from nexuscli.api.repository import model
from nexuscli.api.repository.collection import RepositoryCollection
from nexuscli.nexus_config import NexusConfig
from nexuscli.nexus_http import NexusHttp

url, password, source, target = sys.argv[1:]
http = NexusHttp(NexusConfig(username="admin", password=password, url=url, groovy_enabled=False))
print("repositories", sorted((r["name"], r["format"], r["type"]) for r in RepositoryCollection(nexus_http=http).raw_list()))
files = model.RawHostedRepository(http, name="files")
print("uploaded", files.upload(source, "sub/", recurse=True))
print("listed", sorted(files.list("sub/")))
print("downloaded", files.download("sub/", target))
print("deleted", files.delete("sub/"))
print("left", sorted(files.list("")))
