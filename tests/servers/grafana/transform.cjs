// transform.cjs: panels and the frames that their queries answered on stdin, the frames after Grafana's own transformations on
// stdout; and for each panel the units that Grafana does not know. NODE_PATH names the folder of node_modules.
// Made for a browser: it asks which language that speaks, and later for its window.
if (!globalThis.navigator) globalThis.navigator = { language: "en", languages: ["en"] };

const {
  getValueFormats,
  standardTransformers,
  standardTransformersRegistry,
  toDataFrame,
  getFieldDisplayName,
  transformDataFrame,
} = require("@grafana/data");
const { lastValueFrom } = require("rxjs");
globalThis.window ??= {};

standardTransformersRegistry.setInit(() =>
  // Two names of one transformation have one id, which may be there once.
  [...new Map(Object.values(standardTransformers).map((each) => [each.id, each])).values()].map((each) => ({
    id: each.id,
    name: each.name,
    transformation: async () => each,
    editor: () => null,
  }))
);

const known = new Set(getValueFormats().flatMap((group) => group.submenu.map((format) => format.value)));

async function transformed({ transformations, frames, units }) {
  const after = await lastValueFrom(transformDataFrame(transformations, frames.map((frame) => toDataFrame(frame))));
  return {
    unknown: units.filter((unit) => !known.has(unit)),
    frames: after.map((frame) =>
      frame.fields.map((field) => ({
        name: getFieldDisplayName(field, frame, after),
        type: field.type,
        values: Array.from(field.values),
      }))
    ),
  };
}

(async () => {
  const panels = JSON.parse(require("fs").readFileSync(0, "utf8"));
  process.stdout.write(JSON.stringify(await Promise.all(panels.map(transformed))));
})();
