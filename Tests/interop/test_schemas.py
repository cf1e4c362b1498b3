"""The lock file and the document of every kind of version against docs/schemas."""

import json

import jsonschema
from support import FEATURES, ROOT, LakeTest

SCHEMAS = ROOT / "docs" / "schemas"


def places(document: object, path: tuple = ()):
    """Every object within a document, with its path; the first of each array."""
    if isinstance(document, dict):
        yield path, document
        for name, value in document.items():
            yield from places(value, (*path, name))
    elif isinstance(document, list) and document:
        yield from places(document[0], (*path, 0))


def without(document: object, path: tuple, member: str) -> object:
    copy = json.loads(json.dumps(document))
    inner = copy
    for step in path:
        inner = inner[step]
    del inner[member]
    return copy


class SchemaTest(LakeTest):
    def test_lock_files_and_documents_fit_their_schemas(self) -> None:
        lake = self.built_lake(self.serve(FEATURES).url)
        # One of each kind of document: plain, with rows excluded, with codes that refine and a router.
        excluded = self.scratch / "ids.txt"
        excluded.write_text("0\n7\n1300\n")
        lake.run("exclude", "images", "--ids", excluded, "--reason", "a test")
        lake.run("build", "clips", "--trained", "clip", "--images", "images", "--shards-per-output", 2)
        lake.run("train", "fine", "--images", "images", "--captions", "captions", "--nlist", 16, "--iterations", 2,
                 "--router", "learned", "--refine", "sq8")
        lake.run("build", "fine", "--trained", "fine", "--images", "images")
        validators = {}
        for kind in ("lock", "export"):
            schema = json.loads((SCHEMAS / f"{kind}.schema.json").read_text())
            jsonschema.Draft202012Validator.check_schema(schema)
            validators[kind] = jsonschema.Draft202012Validator(schema)
        seen = {"lock": set(), "export": set()}
        for version in ("clips@1", "clips@2", "fine@1"):
            name = version.split("@")[0]
            for kind, validator in validators.items():
                document = json.loads((lake.directory / "versions" / version / f"{name}.{kind}.json").read_text())
                validator.validate(document)
                for path, found in places(document):
                    seen[kind] |= set(found)
                    properties = validator.schema
                    for step in path:
                        properties = properties["items"] if step == 0 else properties["properties"][step]
                    # It is no schema that lets anything pass, nor one that asks for less than there is.
                    for member in found:
                        self.assertEqual(
                            validator.is_valid(without(document, path, member)), member not in properties["required"],
                            f"{version} {kind} {path} {member}")
                self.assertFalse(validator.is_valid({**document, "other": 1}))
        for members in seen.values():
            self.assertLessEqual({"excluded", "refine"}, members)
