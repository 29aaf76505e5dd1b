// Search runs in a worker, which browsers refuse to pages read from a disk. There, a hidden frame does the same.
// The plugin `offline` expects a class of this name; its own would be downloaded.
class IFrameWorker extends EventTarget {
  constructor(url) {
    super()
    this.frame = document.createElement("iframe")
    this.frame.hidden = true
    document.body.appendChild(this.frame)
    const inside = this.frame.contentWindow
    addEventListener("message", ({ source, data }) => {
      if (source !== inside) return
      const event = new MessageEvent("message", { data })
      this.dispatchEvent(event)
      if (this.onmessage) this.onmessage(event)
    })
    inside.document.open()
    inside.document.write(`<script>
      postMessage = data => parent.dispatchEvent(new MessageEvent("message", { source: window, data }))
      importScripts = (...urls) => urls.reduce((before, url) => before.then(() => new Promise((loaded, failed) => {
        const script = document.createElement("script")
        Object.assign(script, { src: url, onload: loaded, onerror: failed })
        document.body.appendChild(script)
      })), Promise.resolve())
    </script><script src="${url}"></script>`)
    inside.document.close()
    this.ready = new Promise(loaded => inside.addEventListener("load", loaded))
  }

  postMessage(data) {
    this.ready.then(() => this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data })))
  }

  terminate() {
    this.frame.remove()
  }
}

if (location.protocol === "file:") {
  window.IFrameWorker = IFrameWorker
  window.Worker = IFrameWorker
}
