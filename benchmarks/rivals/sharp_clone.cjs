// The rival in Node: sharp's documented pattern, one input and a clone per output.
// node sharp_clone.cjs REQUEST, where REQUEST is the JSON that `contender` describes, with the
// folder of the package as `sharp`. One thread and no cache, as with everyone else.
const fs = require("fs");
const path = require("path");

// One line: the last of what is said here is what `bench` shows, and Node's own would be its version.
process.on("uncaughtException", (error) => {
  console.error(String(error?.message ?? error).split("\n")[0]);
  process.exit(1);
});

const request = JSON.parse(process.argv[2]);
const sharp = require(request.sharp);
sharp.concurrency(1);
sharp.cache(false);

async function render(photo) {
  const base = sharp(photo).rotate();
  const { width, height } = await sharp(photo).metadata();
  const longest = Math.max(width, height);
  const edges = request.ladder.split(",").filter((rung) => rung !== "full").map(Number);
  const webp = (image, rung) =>
    image
      .webp({ quality: request.quality, effort: request.effort })
      .toFile(path.join(request.folder, `${rung}.webp`));
  await Promise.all([
    ...edges
      .filter((edge) => edge < longest)
      .map((edge) => {
        const box = { width: edge, height: edge, fit: "inside", withoutEnlargement: true };
        return webp(base.clone().resize(box), edge);
      }),
    webp(base.clone(), "full"),
  ]);
}

(async () => {
  if (request.photo) await render(request.photo);
  const { sharp: version, vips, webp } = sharp.versions;
  console.log(JSON.stringify({ versions: { node: process.version, sharp: version, vips, webp } }));
})();
