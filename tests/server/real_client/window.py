"""Works the real X-AnyLabeling window, unseen, as a person would; run by its own Python.

    python window.py URL IMAGES TEXT [SCREENSHOT]

Chooses Remote-Server, answers its dialogs, sends a text, presses Auto Run, and prints which dialogs came and what was offered.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PyQt6 import QtCore, QtGui, QtWidgets

URL, FOLDER, TEXT = sys.argv[1:4]
PICTURE = sys.argv[4] if len(sys.argv) > 4 else None
_show = QtWidgets.QApplication.exec
seen: list[str] = []


def window():
    return next(w for w in QtWidgets.QApplication.topLevelWidgets() if isinstance(w, QtWidgets.QMainWindow))


def action(name):
    return next(item for item in window().findChildren(QtGui.QAction) if item.text() == name)


def annotated():
    return len(list(Path(FOLDER).glob("*.json")))


def answer_dialog():
    dialog = QtWidgets.QApplication.activeModalWidget()
    if dialog is None or isinstance(dialog, QtWidgets.QProgressDialog):
        return
    seen.append(type(dialog).__name__)
    if seen[-1] == "RemoteServerDialog":
        dialog.findChildren(QtWidgets.QLineEdit)[0].setText(URL)
    dialog.accept()


def steps():
    """Yields what has to become true before the next step."""
    main, images = window(), len(list(Path(FOLDER).glob("*.png")))
    main.resize(1640, 900)
    action("Auto Labeling").trigger()
    panel = next(w for w in main.findChildren(QtWidgets.QWidget) if type(w).__name__ == "AutoLabelingWidget")
    menu = panel.remote_server_select_combobox
    panel.model_dropdown.modelSelected.emit("CVHub", next(name for name in panel.model_info if "remote" in name))
    yield lambda: menu.count() > 0
    seen.append(menu.itemText(0))
    panel.edit_text.setText(TEXT)
    panel.button_send.click()
    yield lambda: annotated() > 0
    action("Auto Run").trigger()
    yield lambda: annotated() == images
    if PICTURE is not None:
        main.grab().save(PICTURE)


def begin(*_):
    app = QtWidgets.QApplication.instance()
    dialogs = QtCore.QTimer(app)
    dialogs.timeout.connect(answer_dialog)
    dialogs.start(300)
    state = {"steps": None, "until": lambda: True, "end": time.monotonic() + 120}

    def go_on():
        try:
            if time.monotonic() > state["end"]:
                raise TimeoutError(seen)
            if state["steps"] is None:
                state["steps"] = steps()
            if state["until"]():
                state["until"] = next(state["steps"])
        except StopIteration:
            app.quit()
        except Exception:
            traceback.print_exc()
            app.quit()

    def start():
        clock = QtCore.QTimer(app)
        clock.timeout.connect(go_on)
        clock.start(200)

    QtCore.QTimer.singleShot(2000, start)
    return _show()


if __name__ == "__main__":
    QtWidgets.QApplication.exec = staticmethod(begin)
    from anylabeling.app import main

    sys.argv = ["xanylabeling", "--no-auto-update-check", "--filename", FOLDER]
    try:
        main()
    finally:
        print(json.dumps(seen), flush=True)
