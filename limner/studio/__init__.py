"""The browser's face: a page, and the JSON API that it uses; calls the workbench only. See docs/studio.md."""
