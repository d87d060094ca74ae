//! Small manifests for stories.

/// A Pod of one container, of a guest, with more lines for its spec and its container.
pub struct Pod {
    name: String,
    guest: String,
    args: Vec<String>,
    spec: String,
    container: String,
    labels: String,
}

impl Pod {
    pub fn new(name: &str, guest: &str) -> Pod {
        Pod {
            name: name.to_owned(),
            guest: guest.to_owned(),
            args: Vec::new(),
            spec: String::new(),
            container: String::new(),
            labels: String::new(),
        }
    }

    pub fn args(mut self, args: &[&str]) -> Pod {
        self.args = args.iter().map(|arg| (*arg).to_owned()).collect();
        self
    }

    /// A line of the Pod's spec, such as `restartPolicy: Never`.
    pub fn spec(mut self, line: &str) -> Pod {
        self.spec.push_str(&format!("  {line}\n"));
        self
    }

    /// A line of the container, such as `ports: [{containerPort: 80}]`.
    pub fn container(mut self, line: &str) -> Pod {
        self.container.push_str(&format!("    {line}\n"));
        self
    }

    pub fn label(mut self, label: &str) -> Pod {
        self.labels = format!(", labels: {{{label}}}");
        self
    }

    pub fn yaml(&self) -> String {
        let args = serde_json::to_string(&self.args).unwrap();
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {}{}}}\nspec:\n{}  containers:\n  - name: main\n    image: file:guests/dist/{}.wasm\n    args: {args}\n{}---\n",
            self.name, self.labels, self.spec, self.guest, self.container
        )
    }
}

/// A Service on port 80 of the Pods labelled `app: NAME`.
pub fn service(name: &str, more: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  selector: {{app: {name}}}\n  ports: [{{name: http, port: 80, targetPort: 8080}}]\n  {more}\n---\n"
    )
}
