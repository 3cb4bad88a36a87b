// kbench's notebooks in JupyterLab's launcher; choosing one opens a copy of it. The server half is kbench/widgets/launcher.py.
//
// Written as what a build would make of it, a module federation container: JupyterLab hands `init` the modules it shares and
// asks `get` for the plugin. So there is nothing to build, and nothing of JupyterLab's is carried along.
(() => {
  const ICON = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24">
    <path d="M2 12h20" stroke="#767c84" stroke-width="1.4"/>
    <g fill="#0072b2"><circle cx="3.6" cy="12" r="2.6"/><circle cx="10" cy="12" r="2.6"/></g>
    <path d="M16.6 6.4l5.6 5.6-5.6 5.6-5.6-5.6z" fill="#d55e00"/></svg>`;
  let shared = {};

  // A module that JupyterLab shares, undefined where it does not: Notebook 7 has no launcher.
  async function load(name) {
    const version = Object.values(shared[name] ?? {})[0];
    return version && (await version.get())();
  }

  async function request({ ServerConnection, URLExt }, settings, init) {
    const response = await ServerConnection.makeRequest(URLExt.join(settings.baseUrl, "kbench/notebooks"), init, settings);
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) throw new Error(answer.message || `${response.status} ${response.statusText}`);
    return answer;
  }

  async function activate(app, jupyter, launcher) {
    const settings = app.serviceManager.serverSettings;
    const icon = new jupyter.LabIcon({ name: "kbench:notebook", svgstr: ICON });
    const notebooks = await request(jupyter, settings, {});
    notebooks.forEach(({ name, title, question }, rank) => {
      const command = `kbench:open-${name}`;
      app.commands.addCommand(command, {
        label: title,
        caption: question,
        icon,
        execute: async ({ cwd }) => {
          const folder = app.serviceManager.contents.localPath(cwd ?? "");
          try {
            const { path } = await request(jupyter, settings, { method: "POST", body: JSON.stringify({ name, folder }) });
            return await app.commands.execute("docmanager:open", { path });
          } catch (error) {
            return jupyter.showErrorMessage(`kbench: ${title}`, error);
          }
        },
      });
      launcher.add({ command, category: "kbench", rank });
    });
  }

  async function plugins() {
    const names = ["launcher", "ui-components", "apputils", "services", "coreutils"];
    const loaded = await Promise.all(names.map((name) => load(`@jupyterlab/${name}`)));
    if (!loaded.every(Boolean)) return [];
    const jupyter = Object.assign({}, ...loaded);
    const start = (app, launcher) => launcher && activate(app, jupyter, launcher).catch((error) => console.error("kbench:", error));
    return [{ id: "kbench:launcher", autoStart: true, optional: [jupyter.ILauncher], activate: start }];
  }

  const container = {
    init: (scope) => {
      shared = scope;
    },
    get: async () => {
      const found = await plugins();
      return () => ({ __esModule: true, default: found });
    },
  };
  window._JUPYTERLAB = Object.assign(window._JUPYTERLAB ?? {}, { kbench: container });
})();
