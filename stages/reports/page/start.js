// The last script: what is on this page comes to life.
document.addEventListener("submit", (event) => event.preventDefault());
const sweep = byId("sweep-data");
if (sweep) startGrid(JSON.parse(sweep.textContent));
if (byId("cards")) startPictures(byId("cards"));
