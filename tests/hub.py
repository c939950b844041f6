"""A hub that is not there: what it would be given."""

from types import SimpleNamespace


class Hub:
    """Stands where `huggingface_hub.HfApi` does."""

    def __init__(self):
        self.made, self.files = [], {}

    def create_repo(self, name, *, repo_type, private, exist_ok):
        self.made.append((name, repo_type, private, exist_ok))

    def upload_folder(self, *, repo_id, repo_type, folder_path, commit_message):
        assert commit_message
        assert (repo_id, repo_type) in {one[:2] for one in self.made}
        self.files[repo_id] = {
            path.relative_to(folder_path).as_posix(): path.read_bytes()
            for path in folder_path.rglob("*")
            if path.is_file()
        }
        return SimpleNamespace(oid="c0ffee", commit_url=f"https://hub/{repo_id}/commit/c0ffee")

    def text(self, repo_id, name="README.md"):
        return self.files[repo_id][name].decode()
