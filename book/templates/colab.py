#| code-fold: true
# On Colab this cell installs $name and checks that it is the right one. Elsewhere it does nothing.
import os
import sys

if "google.colab" in sys.modules or "COLAB_RELEASE_TAG" in os.environ:
    import subprocess
    from importlib.metadata import metadata

    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "$requirement"], check=True)
    import medxai

    addresses = " ".join(metadata("$name").get_all("Project-URL", []))
    if "$url" not in addresses or "load_images" not in dir(medxai):
        raise ImportError("$name: found another package of this name, expected the one from $url. "
                          "Remove it with `pip uninstall $name`, restart the runtime and run this cell again.")
