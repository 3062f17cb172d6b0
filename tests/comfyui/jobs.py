"""What newer servers add: /api/jobs, and to cancel a job whatever its state.  Read in their source, not recorded."""

import json
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from comfyui.service import Service

STATUSES = ("pending", "in_progress", "completed", "failed", "cancelled")
LAST = ("execution_success", "execution_error", "execution_interrupted")


class Jobs:
    """The queue and the history as one list."""

    def __init__(self, service: "Service") -> None:
        self.service = service

    def table(self) -> list[tuple[str, str, Any]]:
        """(method, path, handler)."""
        return [
            ("GET", "/api/jobs", self.get_all), ("POST", "/api/jobs/cancel", self.cancel_many),
            ("GET", "/api/jobs/{id}", self.get_one), ("POST", "/api/jobs/{id}/cancel", self.cancel),
        ]  # fmt: skip

    async def get_all(self, request: web.Request) -> web.StreamResponse:
        wanted = [part.strip().lower() for part in request.query.get("status", "").split(",") if part.strip()]
        wrong = [name for name in wanted if name not in STATUSES]
        if wrong:
            text = f"Invalid status value(s): {', '.join(wrong)}. Valid values: {', '.join(STATUSES)}"
            return web.json_response({"error": text}, status=400)
        jobs = [job for job in self._jobs() if not wanted or job["status"] in wanted]
        newest_first = request.query.get("sort_order", "desc").lower() == "desc"
        jobs.sort(key=lambda job: job.get("create_time", 0), reverse=newest_first)
        start = max(0, int(request.query.get("offset", 0)))
        limit = int(request.query["limit"]) if "limit" in request.query else None
        page = jobs[start:] if limit is None else jobs[start : start + limit]
        more = start + len(page) < len(jobs)
        pagination = {"offset": start, "limit": limit, "total": len(jobs), "has_more": more}
        return web.json_response({"jobs": page, "pagination": pagination})

    async def get_one(self, request: web.Request) -> web.StreamResponse:
        for job in self._jobs(detailed=True):
            if job["id"] == request.match_info["id"]:
                return web.json_response(job)
        return web.json_response({"error": "Job not found"}, status=404)

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"cancelled": self._cancel(request.match_info["id"])})

    async def cancel_many(self, request: web.Request) -> web.StreamResponse:
        try:
            ids = (await request.json())["job_ids"]
        except (json.JSONDecodeError, KeyError, TypeError):
            return web.json_response({"error": "job_ids must be a list"}, status=400)
        return web.json_response({"cancelled": True in [self._cancel(prompt_id) for prompt_id in ids]})

    def _cancel(self, prompt_id: str) -> bool:
        worker = self.service.worker
        return worker.queue.delete(prompt_id) or worker.interrupt(prompt_id)

    def _jobs(self, detailed: bool = False) -> list[dict[str, Any]]:
        queue = self.service.worker.queue
        running, pending = queue.current()
        done = [_describe_done(entry, detailed) for entry in queue.history.values()]
        waiting = [("in_progress", item) for item in running] + [("pending", item) for item in pending]
        return done + [_describe(item, status, detailed) for status, item in waiting]


def _describe(item: tuple[Any, ...], status: str, detailed: bool) -> dict[str, Any]:
    number, prompt_id, graph, extra, _ = item
    job = {"id": prompt_id, "status": status, "priority": number, "create_time": extra.get("create_time"),
           "outputs_count": 0, "previewable_outputs_count": 0}  # fmt: skip
    return job | ({"workflow": {"prompt": graph, "extra_data": extra}} if detailed else {})


def _describe_done(entry: dict[str, Any], detailed: bool) -> dict[str, Any]:
    messages = entry["status"]["messages"]
    event, about = messages[-1]
    failed = "cancelled" if event == "execution_interrupted" else "failed"
    status = "completed" if entry["status"]["completed"] else failed
    files = [(number, file) for number, output in entry["outputs"].items() for file in output["images"]]
    job = _describe(entry["prompt"], status, detailed) | {
        "execution_start_time": messages[0][1]["timestamp"], "outputs_count": len(files),
        "previewable_outputs_count": len(files),
    }  # fmt: skip
    job |= {"execution_end_time": about["timestamp"]} if event in LAST else {}
    job |= {"execution_error": about} if event == "execution_error" else {}
    if files:
        job["preview_output"] = files[0][1] | {"nodeId": files[0][0], "mediaType": "images"}
    return job | ({"outputs": entry["outputs"], "execution_status": entry["status"]} if detailed else {})
