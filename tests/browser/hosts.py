"""Other hosts of widgets than JupyterLab, and what one drops that carries less."""

from __future__ import annotations

import sys

from tools.jupyterlab_driver import Lab


class NotebookApp(Lab):
    """Jupyter Notebook 7."""

    def command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "notebook", "--no-browser", "--allow-root"),
            *("--ip=127.0.0.1", f"--port={self.port}", "--ServerApp.port_retries=0"),
            *("--IdentityProvider.token=", f"--ServerApp.root_dir={self.notebooks}"),
            "--JupyterNotebookApp.expose_app_in_browser=True",
        ]


class Voila(Lab):
    """A page for each notebook, with a kernel and without its cells."""

    status = ""

    def command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "voila", "--no-browser", "--Voila.ip=127.0.0.1"),
            *(f"--port={self.port}", "--token=", "--Voila.auto_token=False"),
            *("--strip_sources=False", str(self.notebooks)),
        ]


# Drops what a kernel sends for widgets after the cell has ended, as Colab does: messages that
# answer a message of a widget arrive, those of a thread (their parent is the cell) do not.
DROP_PUSHES = r"""
(() => {
  const idle = new Set();
  window.nbdebugDropped = 0;
  const text = new TextDecoder();
  const parts = (data) => {
    if (typeof data === "string") {
      const { header, parent_header, content } = JSON.parse(data);
      return { header, parent: parent_header, content: () => content };
    }
    const view = new DataView(data);
    const at = (i) => Number(view.getBigUint64(8 * (i + 1), true));
    const part = (i) => JSON.parse(text.decode(new Uint8Array(data, at(i), at(i + 1) - at(i))));
    return { header: part(1), parent: part(2), content: () => part(4) };
  };
  const dropped = (data) => {
    let message;
    try { message = parts(data); } catch { return false; }
    const { header, parent } = message;
    if (parent?.msg_type !== "execute_request") return false;
    if (header.msg_type === "status" && message.content().execution_state === "idle") {
      idle.add(parent.msg_id);
    }
    return header.msg_type === "comm_msg" && idle.has(parent.msg_id);
  };
  const Native = window.WebSocket;
  window.WebSocket = new Proxy(Native, {
    construct(target, args) {
      const socket = new target(...args);
      if (!/\/channels/.test(String(args[0]))) return socket;
      socket.addEventListener("message", (event) => {
        if (!dropped(event.data)) return;
        window.nbdebugDropped += 1;
        event.stopImmediatePropagation();
      });
      return socket;
    },
  });
})();
"""
