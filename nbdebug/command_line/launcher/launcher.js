// A prebuilt extension of JupyterLab that nobody builds: of a container of module federation
// JupyterLab asks for `init` and `get`. It puts the quickstart into the launcher.
(() => {
  const COMMAND = "nbdebug:quickstart";
  const NAME = "nbdebug_quickstart.ipynb"; // as `python -m nbdebug demo` calls it
  const SOURCE = new URL("quickstart.ipynb", document.currentScript.src);
  const ICON = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none"
    stroke-width="2" stroke-linecap="round"><path class="jp-icon3" stroke="#616161"
    d="M4 3v17h17"/><path stroke="#38c" d="M7 5c2 8 5 10 13 11"/></svg>`;
  let shared = {};

  /** A package of JupyterLab's own; undefined where the host shares none of that name. */
  const load = async (name) => {
    const [version] = Object.values(shared[name] ?? {});
    return version && (await version.get())();
  };

  /** Write the quickstart into a folder unless it is there, and open it. */
  const open = async (app, folder) => {
    const path = folder ? `${folder}/${NAME}` : NAME;
    const { contents } = app.serviceManager;
    const there = await contents.get(path, { content: false }).then(() => true, () => false);
    if (!there) {
      const content = await (await fetch(SOURCE)).json();
      await contents.save(path, { type: "notebook", format: "json", content });
    }
    return app.commands.execute("docmanager:open", { path });
  };

  const plugin = (ILauncher, LabIcon) => ({
    id: "nbdebug:launcher",
    autoStart: true,
    optional: [ILauncher],
    activate: (app, launcher) => {
      app.commands.addCommand(COMMAND, {
        label: "nbdebug quickstart",
        caption: "A notebook that trains a small network in the dashboard of nbdebug",
        icon: new LabIcon({ name: "nbdebug:curve", svgstr: ICON }),
        execute: ({ cwd }) => open(app, cwd),
      });
      launcher?.add({ command: COMMAND, category: "Other", rank: 9 });
    },
  });

  const entry = async () => {
    const launcher = await load("@jupyterlab/launcher");
    const components = await load("@jupyterlab/ui-components");
    return launcher && components && plugin(launcher.ILauncher, components.LabIcon);
  };

  window._JUPYTERLAB ??= {};
  window._JUPYTERLAB.nbdebug = {
    init: (scope) => {
      shared = scope;
    },
    get: async () => {
      // An error here would keep all of JupyterLab from starting.
      const found = await entry().catch((error) => console.warn("nbdebug:", error));
      return () => ({ __esModule: true, default: found ?? [] });
    },
  };
})();
